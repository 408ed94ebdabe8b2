"""What is left after a worker died, or our tables were lost: the truth, or a question."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.utils import timezone

from reliable_effects import ONCE
from reliable_effects.clock import DbNow, moved
from reliable_effects.effects.keys import call_key
from reliable_effects.outbox import remedy
from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.forget import forget
from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent
from reliable_effects.outbox.prune import prune
from reliable_effects.outbox.rescue import rescue
from reliable_effects.outbox.states import State
from reliable_effects.outgoing import windows
from reliable_effects.outgoing.models import Known, OutgoingCall
from tests.outbox.conftest import carry_out, pending_delivery, succeeded_delivery
from tests.outgoing.conftest import DAY, act, calling, settled
from tests.outgoing.partner import answer, drop, hang
from tests.shop.models import Order
from tests.waiting import eventually

pytestmark = pytest.mark.django_db

ALMOST_A_DAY = DAY - timedelta(hours=3)  # a tenth of the window is left alone
HOUR = timedelta(hours=1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("window", [DAY, None])
def test_a_worker_killed_between_send_and_answer_leaves_the_truth(window, partner, make_effect):
    """At that line nobody can know; so the same key, or nobody sends."""
    bank = partner(hang, answer())
    effect = make_effect(calling(bank.url, window=window, timeout=timedelta(seconds=20)))
    delivery = pending_delivery(effect)
    connections.close_all()
    child = os.fork()
    if not child:
        deliver("default", [delivery.pk])
        os._exit(0)
    try:
        eventually(lambda: bank.arrivals)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    assert OutgoingCall.objects.get().known == Known.UNKNOWN
    Delivery.objects.update(lease_expires_at=DbNow() - timedelta(seconds=1))
    rescue("default", Turn(since_last=timedelta(0)))
    carry_out(delivery)

    assert len(set(bank.keys)) == 1
    if window:
        assert (delivery.state, len(bank.arrivals)) == (State.SUCCEEDED, 2)
    else:
        assert (delivery.state, len(bank.arrivals)) == (State.UNCERTAIN, 1)


def owed_effect(make_effect, url, *, grace=timedelta(minutes=15), **options):
    effect = make_effect(
        calling(url, **options), name="test.charge", verify=options.pop("verify", None)
    )
    effect.owed(since="placed_at", grace=grace, debt=ONCE)(Order.objects.all)
    return effect


def an_order(ago):
    order = Order.objects.create()
    Order.objects.filter(pk=order.pk).update(placed_at=timezone.now() - ago)
    order.refresh_from_db()
    return order


def promised_anew(effect, order, *, source="reconcile"):
    with transaction.atomic():
        effect.promise(order)
    OutboxEvent.objects.update(source=source)
    return Delivery.objects.get()


def lose_everything():
    for model in (OutgoingCall, Attempt, Delivery, OutboxEvent):
        model.objects.all().delete()


@pytest.mark.parametrize("ago", [ALMOST_A_DAY, 2 * DAY])
@pytest.mark.parametrize("source", ["reconcile", "promise"])
def test_after_a_total_loss_the_window_counts_from_the_debt(source, ago, partner, make_effect):
    """When it was first sent nobody knows any more; not before it was owed."""
    bank = partner(drop, answer())
    effect = owed_effect(make_effect, bank.url)
    order = an_order(ago)
    first = promised_anew(effect, order)
    OutgoingCall.objects.create(
        key=first.key, delivery=first, send_token=1, known=Known.UNKNOWN,
        first_sent_at=DbNow(), last_sent_at=DbNow(),
    )  # fmt: skip
    lose_everything()

    delivery = promised_anew(effect, order, source=source)
    carry_out(delivery)
    carry_out(delivery)

    assert delivery.key == first.key
    if ago < DAY:
        assert bank.keys == [str(first.key)] * 2
    else:
        assert bank.arrivals == []
        assert delivery.state == State.UNCERTAIN
        assert "rows have been lost" in Attempt.objects.get().message


def test_what_was_promised_when_it_arose_is_sent_after_a_long_outage_all_the_same(
    partner, make_effect
):
    """Our rows have been there since then, and know that it was never sent."""
    bank = partner(answer())
    delivery = promised_anew(
        owed_effect(make_effect, bank.url), an_order(HOUR / 10), source="promise"
    )

    with moved(timedelta(days=3)):
        carry_out(delivery)

    assert delivery.state == State.SUCCEEDED


def test_what_is_promised_with_its_row_is_sent_though_the_grace_is_none(partner, make_effect):
    """A moment lies between the two."""
    bank = partner(answer())
    effect = owed_effect(make_effect, bank.url, window=None, grace=timedelta(0))
    with transaction.atomic():
        effect.promise(Order.objects.create())
    delivery = Delivery.objects.get()

    carry_out(delivery)

    assert len(bank.arrivals) == 1


@pytest.mark.parametrize("found", ["verify", "person", "for ever"])
def test_what_is_owed_for_long_is_sent_when_somebody_has_looked(found, partner, make_effect):
    """Or where repeating is harmless for ever."""
    bank = partner(answer())
    options = {"window": windows.FOR_EVER} if found == "for ever" else {}
    effect = owed_effect(make_effect, bank.url, **options)
    if found == "verify":
        effect.verify = lambda *_: False
    delivery = promised_anew(effect, an_order(30 * DAY))

    carry_out(delivery)
    if found != "for ever":
        assert delivery.state == State.UNCERTAIN
        if found == "person":
            settled(delivery, happened=False)
        else:
            carry_out(delivery)
        carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert len(bank.arrivals) == 1


def test_keys_outlive_retries_redrives_and_for_debts_our_tables(partner, make_effect):
    bank = partner(answer(429), answer(429), answer(402), answer())
    effect = owed_effect(make_effect, bank.url, call="refund")
    order = an_order(HOUR)
    delivery = promised_anew(effect, order)
    for _ in range(3):
        carry_out(delivery)
    act(remedy.redrive, delivery)
    lose_everything()
    carry_out(promised_anew(effect, order))

    assert len(bank.arrivals) == 4
    assert set(bank.keys) == {str(call_key(delivery.key, "refund"))}


def test_rows_of_calls_go_with_their_delivery():
    kept, old = pending_delivery(), succeeded_delivery(finished_at=DbNow() - timedelta(days=30))
    for delivery in (kept, old):
        OutgoingCall.objects.create(
            key=delivery.key, delivery=delivery, send_token=1, known=Known.DONE,
            first_sent_at=DbNow(), last_sent_at=DbNow(),
        )  # fmt: skip

    prune("default")

    assert [call.delivery_id for call in OutgoingCall.objects.all()] == [kept.pk]


def test_who_is_forgotten_leaves_no_hash_and_no_number_of_the_partners():
    done = succeeded_delivery()
    OutgoingCall.objects.create(
        key=done.key, delivery=done, send_token=1, known=Known.DONE, request_hash="ab",
        request_id="req_1", first_sent_at=DbNow(), last_sent_at=DbNow(),
    )  # fmt: skip

    forgotten = forget(f"shop.Order:{done.event.subject_pk}", by="ada", why="asked to")

    assert forgotten.others["outgoing calls"].blanked == 1
    call = OutgoingCall.objects.get()
    assert (call.request_hash, call.request_id, call.known) == ("", "", Known.DONE)
