"""What stands under a debt's key says what is to be done; what people decided is reported only."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction

from reliable_effects import signals
from reliable_effects.clock import moved
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.states import Flag, Notes, Reason, State
from tests.shop.models import LedgerEntry, Order

from .conftest import (
    DAY,
    HOUR,
    an_order,
    carry_out_all,
    ended,
    found_in,
    listening,
    reconciled,
    the_delivery,
)

pytestmark = pytest.mark.django_db(transaction=True)

RUNNING = {"claim_token": 7, "finished_at": None}
STANDING = {
    "waiting": {"state": State.PENDING},
    "under way": {"state": State.RUNNING},
    "poisoned": {"state": State.POISONED, "reason": Reason.ATTEMPTS_SPENT},
    "uncertain": {"state": State.UNCERTAIN},
    "cancelled": {"state": State.CANCELLED},
    "skipped": {"state": State.SKIPPED, "reason": Reason.EFFECT_SKIPPED},
    "contradiction": {"state": State.SUCCEEDED},
    "owed again": {"state": State.SKIPPED, "reason": Reason.NOT_NEEDED},
}


@pytest.mark.parametrize("finding", STANDING)
def test_each_state_is_a_finding(charge, finding):
    order = an_order()
    _stands(charge, order, **STANDING[finding])

    assert found_in(charge) == {order.pk: finding}


@pytest.mark.parametrize(
    "finding", ["waiting", "under way", "poisoned", "uncertain", "cancelled", "skipped"]
)
def test_what_waits_or_was_decided_is_left_alone(make_owed, finding):
    """By a person, the effect itself, or its expiry. Also where the query says reopen."""
    charge = make_owed(owed={"reopen": True})
    order = an_order()
    _stands(charge, order, **STANDING[finding])
    before = Delivery.objects.values().get()

    with moved(30 * DAY):
        stretch = reconciled(charge)

    assert stretch.done == 0
    assert Delivery.objects.values().get() == before


def test_a_contradiction_is_reported_and_not_run_again(charge, caplog):
    """The effect says that it is done, its query says no: whom to believe is for people."""
    order = an_order()
    ended(charge, order, 30 * DAY)

    reconciled(charge)

    assert the_delivery(charge, order).state == State.SUCCEEDED
    assert "contradiction 1" in caplog.text


def test_what_is_done_while_we_look_is_no_contradiction(make_owed):
    """The row was paid between the query and the delivery's row."""
    asked = []

    def unpaid_once():
        asked.append(1)
        return Order.objects.all() if len(asked) == 1 else Order.objects.none()

    charge = make_owed(query=unpaid_once)
    order = an_order()
    ended(charge, order, HOUR)

    assert found_in(charge) == {order.pk: "done late"}


def test_still_owed_is_reopened_under_its_key_by_and_by_and_then_set_aside(make_owed):
    """After an hour, a day and a week; then a person must look."""
    charge = make_owed(lambda *_: None, owed={"reopen": True})
    order = an_order()
    ended(charge, order, timedelta(0))
    key = the_delivery(charge, order).key
    shift, reopened = timedelta(0), []
    rests = [timedelta(minutes=59), 2 * timedelta(minutes=1), timedelta(hours=23), 2 * HOUR,
             timedelta(days=6), 2 * DAY, timedelta(minutes=1)]  # fmt: skip

    with listening(signals.delivery_poisoned) as told:
        for rest in rests:
            shift += rest
            with moved(shift):
                reopened.append(reconciled(charge).done)
                carry_out_all()

    row = the_delivery(charge, order)
    assert reopened == [0, 1, 0, 1, 0, 1, 1]
    assert (row.state, row.reason, row.key) == (State.POISONED, Reason.STILL_OWED, key)
    assert [each["reason"] for each in told] == ["STILL_OWED"]


def test_what_can_be_verified_is_reopened_as_uncertain(make_owed):
    charge = make_owed(owed={"reopen": True}, verify=lambda _order, _ctx: True)
    order = an_order()
    ended(charge, order, 2 * HOUR)

    reconciled(charge)

    row = the_delivery(charge, order)
    assert (row.state, bool(row.flags & Flag.VERIFIABLE)) == (State.UNCERTAIN, True)


def test_skipped_as_not_needed_and_owed_again_runs(charge):
    """The order was cancelled, and taken up again: under the same key, in a new round."""
    order = an_order()
    row = ended(charge, order, timedelta(0), state=State.SKIPPED, reason=Reason.NOT_NEEDED)

    reconciled(charge)
    carry_out_all()

    after = the_delivery(charge, order)
    assert (after.state, after.key, after.attempts) == (State.SUCCEEDED, row.key, 1)
    assert after.notes[Notes.ROUND] == 1


def test_what_skips_itself_again_and_again_rests_longer_each_time(make_owed):
    """still_needed= says no and the owed query says yes: at once, then hours, not for ever."""
    charge = make_owed(still_needed=lambda _order: False)
    order = an_order()
    ended(charge, order, timedelta(0), state=State.SKIPPED, reason=Reason.NOT_NEEDED)
    done, shift = [], timedelta(0)

    for rest in (timedelta(0), timedelta(minutes=50), timedelta(minutes=20), timedelta(hours=3)):
        shift += rest
        with moved(shift):
            done.append(reconciled(charge).done)
            carry_out_all()

    assert done == [1, 0, 1, 0]


def test_a_delivery_whose_event_is_lost_gets_another(charge):
    """Nobody could run it: an effect needs its event's subject and payload."""
    order = an_order()
    with transaction.atomic():
        charge.promise(order)
    OutboxEvent.objects.all().delete()

    reconciled(charge)
    carry_out_all()

    assert the_delivery(charge, order).event.source == "reconcile"
    assert LedgerEntry.objects.get().key == str(the_delivery(charge, order).key)


def test_what_was_set_aside_because_its_event_is_lost_comes_back(charge):
    """Workers were quicker than reconcile and found it unreadable."""
    order = an_order()
    with transaction.atomic():
        charge.promise(order)
    OutboxEvent.objects.all().delete()
    carry_out_all()
    assert Delivery.objects.get().reason == Reason.UNREADABLE
    Delivery.objects.update(fingerprint="f" * 32)  # its group of failures

    reconciled(charge)
    carry_out_all()

    again = the_delivery(charge, order)
    assert (again.state, again.fingerprint) == (State.SUCCEEDED, "")


def test_a_delivery_that_somebody_changed_meanwhile_is_left(make_owed):
    """The UPDATE says what was read: a person, or a worker, was quicker."""

    def cancel_first():
        if Delivery.objects.filter(state=State.SKIPPED).exists():
            asked.append(1)
            if len(asked) == 2:
                Delivery.objects.update(state=State.CANCELLED, reason="")
        return Order.objects.all()

    asked = []
    charge = make_owed(query=cancel_first)
    order = an_order()
    ended(charge, order, timedelta(0), state=State.SKIPPED, reason=Reason.NOT_NEEDED)

    assert reconciled(charge).done == 0
    assert the_delivery(charge, order).state == State.CANCELLED


def test_a_row_that_the_database_refuses_stops_nobody_else(charge):
    orders = [an_order() for _ in range(3)]
    for order in orders:
        ended(charge, order, timedelta(0), state=State.SKIPPED, reason=Reason.NOT_NEEDED)
    bad = the_delivery(charge, orders[1])

    from tests.sweeps.conftest import refusing  # noqa: PLC0415  # no fixture, a hand

    with refusing("reliable_effects_delivery", "UPDATE", f"OLD.id = {bad.pk}"):
        reconciled(charge)

    assert found_in(charge) == {
        orders[0].pk: "waiting", orders[1].pk: "owed again", orders[2].pk: "waiting",
    }  # fmt: skip


def _stands(effect, order: Order, **columns) -> None:
    match columns["state"]:
        case State.PENDING | State.UNCERTAIN:
            with transaction.atomic():
                effect.promise(order)
            Delivery.objects.update(**columns)
        case State.RUNNING:
            ended(effect, order, timedelta(0))
            lease = the_delivery(effect, order).due_at + HOUR
            Delivery.objects.update(
                state=State.RUNNING, claim_token=7, lease_expires_at=lease, finished_at=None,
                key=the_delivery(effect, order).key or uuid4(),
            )  # fmt: skip
        case _:
            ended(effect, order, timedelta(0), **columns)
