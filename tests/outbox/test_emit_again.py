"""A debt promised again: one row, reopened, moved, or left as it stands."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction

from reliable_effects import ONCE, Event
from reliable_effects.clock import DbNow
from reliable_effects.effects.event import Event as AnyEvent
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.states import Flag, Reason, State
from tests.outbox.conftest import IN_STATE, carry_out
from tests.shop.models import LedgerEntry, Order


@pytest.fixture
def order(db):  # noqa: ARG001  # it is made in the database
    return Order.objects.create()


@pytest.fixture
def charge(make_effect):
    """An effect that a placed order owes once."""
    made = make_effect(name="test.charge")
    made.owed(since="placed_at", grace=timedelta(0), debt=ONCE)(
        lambda: Order.objects.filter(status="placed", charge_id="")
    )
    return made


def promise(effect, order, payload=None):
    with transaction.atomic():
        return effect.promise(order, payload)


def key_of(charge, order):
    """The key of its debt, which is the same on every promise."""
    promise(charge, order)
    delivery = Delivery.objects.get()
    OutboxEvent.objects.all().delete()
    Delivery.objects.all().delete()
    return delivery.key


STANDS = [
    (State.PENDING, {"flags": Flag.BEGUN, "attempts": 2}),
    (State.RUNNING, {}),
    (State.SUCCEEDED, {}),
    (State.SKIPPED, {"reason": Reason.EXPIRED}),
    (State.SKIPPED, {"reason": Reason.EFFECT_SKIPPED}),
    (State.SKIPPED, {"reason": Reason.SUBJECT_GONE}),
    (State.POISONED, {}),
    (State.UNCERTAIN, {}),
    (State.UNCERTAIN, {"look_at": None}),
]


@pytest.mark.parametrize(("state", "columns"), STANDS)
def test_a_debt_that_was_begun_or_decided_stays_as_it_is(charge, order, state, columns):
    """A second promise must not undo what a worker did or a person has to decide."""
    row = IN_STATE[state](charge, key=key_of(charge, order), **columns)
    before = Delivery.objects.values().get(pk=row.pk)

    emitted = promise(charge, order)

    assert (emitted.promised, emitted.already_promised) == ((), ("test.charge",))
    assert Delivery.objects.values().get() == before


@pytest.mark.parametrize(
    ("state", "reason"), [(State.SKIPPED, Reason.NOT_NEEDED), (State.CANCELLED, Reason.NONE)]
)
@pytest.mark.parametrize("notes", [None, {"round": 2, "snoozed": 9.5}])
def test_a_debt_that_ended_without_acting_is_reopened(charge, order, state, reason, notes):
    """It is owed again, from the first attempt, and what it emits now is new."""
    row = IN_STATE[state](charge, key=key_of(charge, order), reason=reason, attempts=3, notes=notes)

    emitted = promise(charge, order, {"why": "again"})

    after = Delivery.objects.get()
    assert (emitted.promised, emitted.already_promised) == (("test.charge",), ())
    assert (after.pk, after.key, after.event_id) == (row.pk, row.key, emitted.event_id)
    assert (after.state, after.reason, after.attempts) == (State.PENDING, "", 0)
    assert (after.finished_at, after.claim_token) == (None, None)
    assert after.notes == (notes or {}) | {"round": (notes or {}).get("round", 0) + 1}
    assert Delivery.objects.due().count() == 1


def test_a_reopened_debt_is_carried_out(charge, order):
    """It was not needed, and now it is."""
    Order.objects.update(status="cart")
    promise(charge, order)
    carry_out(Delivery.objects.get())
    Order.objects.update(status="placed")

    promise(charge, order)
    carry_out(Delivery.objects.get())

    assert Delivery.objects.get().state == State.SUCCEEDED
    assert LedgerEntry.objects.count() == 1


def test_a_debt_that_nobody_has_begun_moves_to_the_newer_event(charge, order):
    """The newer payload is the truer one; when it was due stays."""
    row = IN_STATE[State.PENDING](
        charge, key=key_of(charge, order), due_at=DbNow() - timedelta(hours=1), notes={"round": 1}
    )

    emitted = promise(charge, order, {"why": "newer"})

    after = Delivery.objects.get()
    assert emitted.promised == ("test.charge",)
    assert (after.pk, after.event_id) == (row.pk, emitted.event_id)
    assert (after.due_at, after.notes, after.state) == (row.due_at, {"round": 1}, State.PENDING)


def test_a_debt_needs_none_of_our_rows(charge, order):
    """P9: after a total loss the partner is asked with the same key."""
    key = key_of(charge, order)  # it deletes everything of ours

    promise(charge, order)

    assert Delivery.objects.get().key == key


def test_a_debts_key_outlives_renames(charge, order, make_effect):
    """Of the effect and of the model: the oldest names are what it is derived from."""
    key = key_of(charge, order)
    moved: AnyEvent[Any, Any] = Event(
        "test.moved", subject="shop.Order", subject_aliases=["shop.Order", "old.Purchase"]
    )
    renamed = make_effect(name="test.pay", aliases=["test.charge"], on=moved)
    renamed.owed(since="placed_at", grace=timedelta(0), debt=ONCE)(Order.objects.all)

    promise(renamed, order)

    assert Delivery.objects.get().key == key


def test_several_debts_of_one_subject_are_told_apart_by_name(make_effect, order):
    """An invoice per month: `debt=` names the month."""
    invoice = make_effect(name="test.invoice")
    invoice.owed(since="placed_at", grace=timedelta(0), debt=lambda order: order.status)(
        Order.objects.all
    )
    for month in ("2026-01", "2026-02", "2026-01"):
        order.status = month
        promise(invoice, order)

    assert Delivery.objects.count() == 2


@pytest.mark.parametrize("name", [None, "", 7])
def test_a_debt_needs_a_name(make_effect, order, name):
    """Two debts under one key would be one delivery."""
    invoice = make_effect(name="test.invoice")
    invoice.owed(since="placed_at", grace=timedelta(0), debt=lambda _: name)(Order.objects.all)

    with pytest.raises(TypeError, match=r"debt= of 'test.invoice' gave .* string"):
        promise(invoice, order)


@pytest.fixture
def happened(make_effect):
    """An event, and an effect on it that an order owes once."""
    event: AnyEvent[Any, Any] = Event("test.happened", subject="shop.Order")
    owes = make_effect(name="test.owes", on=event)
    owes.owed(since="placed_at", grace=timedelta(0), debt=ONCE)(Order.objects.all)
    return event


def test_two_events_of_one_call_are_one_debt_under_the_newer(happened, order):
    """emit_many with the same order twice: two facts, one charge."""
    with transaction.atomic():
        results = happened.emit_many([(order, {"n": 1}), (order, {"n": 2})])

    assert OutboxEvent.objects.count() == 2
    (delivery,) = Delivery.objects.select_related("event")
    by_event = {result.event_id: result for result in results}
    assert by_event.pop(delivery.event_id).promised == ("test.owes",)
    assert by_event.popitem()[1].already_promised == ("test.owes",)
    assert delivery.event.payload == {"n": 2}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("once", [None, "the same"])
def test_two_transactions_may_promise_the_same_debts_at_once(happened, once):
    """One row each, no deadlock, no error: they wait for each other, in key order."""
    rounds = 10 if connection.vendor == "sqlite" else 50
    orders = Order.objects.bulk_create([Order() for _ in range(60)])
    together = threading.Barrier(2, timeout=30)

    def race(direction: int) -> int:
        try:
            for _ in range(rounds):
                together.wait()
                with transaction.atomic():
                    happened.emit_many([(o, None) for o in orders[::direction]], once=once)
                if together.wait() == 0:
                    assert Delivery.objects.count() == 60
                    Delivery.objects.all().delete()
                    OutboxEvent.objects.all().delete()
                together.wait()
        except BaseException:
            together.abort()
            raise
        finally:
            connections.close_all()
        return direction

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(race, (1, -1))) == [1, -1]
