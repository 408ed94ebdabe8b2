"""What `ctx.send` refuses to send, before a byte of it goes out."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connections, transaction

from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.states import State
from reliable_effects.outgoing import BodyField
from reliable_effects.outgoing.models import Known, OutgoingCall
from tests.outbox.conftest import carry_out, pending_delivery
from tests.outgoing.conftest import DAY, KEY, calling
from tests.outgoing.partner import answer, drop

pytestmark = pytest.mark.django_db

really_committed = pytest.mark.django_db(transaction=True)


def the_call() -> OutgoingCall:
    return OutgoingCall.objects.get()


@really_committed
@pytest.mark.parametrize("atomic", [False, True])
def test_nothing_is_sent_inside_a_transaction(atomic, partner, make_effect):
    """Its locks would wait for the partner; and "it is sent" could be rolled back."""
    bank = partner(answer())

    def charge(_order, ctx):
        with transaction.atomic():
            ctx.send("POST", bank.url, key=KEY, window=DAY)

    delivery = pending_delivery(make_effect(charge, atomic=atomic))
    carry_out(delivery)

    assert bank.arrivals == []
    said = Attempt.objects.get()
    assert "InsideTransaction" in said.exception_type
    assert ("atomic=True" in said.message) == atomic


@really_committed
def test_a_transaction_that_is_managed_by_hand_is_one_too(partner, make_effect):
    """It would take the row along, and each attempt would be the first."""
    bank = partner(answer())

    def charge(order, ctx):
        transaction.set_autocommit(False)
        calling(bank.url, window=None)(order, ctx)

    delivery = pending_delivery(make_effect(charge, max_attempts=2))
    for _ in range(2):
        carry_out(delivery)

    assert bank.arrivals == []
    assert "InsideTransaction" in Attempt.objects.first().exception_type


@really_committed
def test_who_has_lost_the_lease_sends_nothing(partner, make_effect):
    """Somebody else may be sending it this moment."""
    bank = partner(answer())
    raised = []

    def charge(_order, ctx):
        Delivery.objects.update(claim_token=4711)
        try:
            ctx.send("POST", bank.url, key=KEY, window=DAY)
        except Exception as error:
            raised.append(type(error).__name__)
            raise

    carry_out(pending_delivery(make_effect(charge)))

    assert raised == ["LeaseLost"]
    assert bank.arrivals == []
    assert not OutgoingCall.objects.exists()


@really_committed
def test_who_was_overtaken_cannot_write_what_it_learnt(partner, make_effect):
    """The row belongs to the newer send."""

    def overtake(connection, arrival):
        OutgoingCall.objects.update(send_token=4711)
        answer()(connection, arrival)
        connections.close_all()

    bank = partner(overtake)
    raised = []

    def charge(_order, ctx):
        try:
            ctx.send("POST", bank.url, key=KEY, window=DAY)
        except Exception as error:
            raised.append(type(error).__name__)
            raise

    carry_out(pending_delivery(make_effect(charge)))

    assert raised == ["LeaseLost"]
    assert the_call().known == Known.UNKNOWN


def test_verify_cannot_send(partner, make_effect):
    """It asks; to send would be to do it again."""
    bank = partner(drop, answer())
    effect = make_effect(
        calling(bank.url, window=None),
        verify=lambda _, ctx: bool(ctx.send("POST", bank.url, key=KEY)),
    )
    delivery = pending_delivery(effect)

    carry_out(delivery)
    assert delivery.state == State.UNCERTAIN
    carry_out(delivery)

    assert delivery.state == State.UNCERTAIN
    assert len(bank.arrivals) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"url": "/charges"},
        {"url": "ftp://x/y"},
        {"json": {"n": float("nan")}},
        {"json": {}, "data": b""},
        {"data": iter([b"x"])},
        {"data": {"ids": {1, 2}}},
        {"data": [("ids", iter("12"))]},
        {"headers": {"Authorization": "Bearer x\n"}},
        {"headers": {"Authorization": "Bearer \u2026"}},
        {"key": BodyField("id"), "data": b"raw"},
        {"window": timedelta(0)},
        {"window": 3600},
        {"key": None},
        {"key": "Idempotency-Key"},
        {"timeout": 5},
        {"call": "x" * 101},
        {"client": object()},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(options, make_effect):
    def charge(_order, ctx):
        wanted = {"url": "http://127.0.0.1:1/", "key": KEY, "window": DAY, **options}
        ctx.send("POST", **wanted)

    delivery = pending_delivery(make_effect(charge))
    carry_out(delivery)

    assert Attempt.objects.get().exception_type in ("builtins.TypeError", "builtins.ValueError")
    assert not OutgoingCall.objects.exists()
