"""What is owed and was never promised: the missing delivery is written, and nothing else."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from reliable_effects import Event
from reliable_effects.effects.keys import debt_key
from reliable_effects.effects.payloads import BLANKED
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.states import State
from reliable_effects.reconcile.models import Tier
from reliable_effects.reconcile.walk import due_walk, go_on
from tests.outbox.conftest import an_event
from tests.shop.models import LedgerEntry, Order
from tests.sweeps.conftest import at_once

from .conftest import HOUR, an_order, carry_out_all, found_in, pay, reconciled, the_delivery

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_debt_that_nobody_promised_is_promised_and_paid(charge):
    """Somebody wrote the row without emit(), or our own rows were lost."""
    order = an_order()

    stretch = reconciled(charge)
    carry_out_all()

    assert (stretch.seen, stretch.done, stretch.truncated) == (1, 1, False)
    order.refresh_from_db()
    assert order.charge_id == str(debt_key("test.charge", "shop.order", str(order.pk), "once"))
    assert the_delivery(charge, order).state == State.SUCCEEDED


def test_it_hangs_on_the_newest_event_of_its_subject(charge):
    order = an_order()
    an_event(order, name=charge.name, emitted_at=timezone.now() - HOUR)
    newest = an_event(order, name=charge.name, payload={"coupon": "x"})
    an_event(order, name="shop.another")

    reconciled(charge)

    assert the_delivery(charge, order).event_id == newest.pk


def test_an_event_that_is_lost_is_made_up(make_owed):
    """With the payload that the project says it would have had."""
    charge = make_owed(owed={"payload": lambda order: {"status": order.status}})
    order = an_order()

    reconciled(charge)

    event = the_delivery(charge, order).event
    assert (event.source, event.payload) == ("reconcile", {"status": "placed"})
    assert (event.subject_model, event.subject_pk) == ("shop.order", str(order.pk))


def test_an_event_whose_payload_was_forgotten_is_not_taken(charge):
    """No effect could read it."""
    order = an_order()
    forgotten = an_event(order, name=charge.name, version=BLANKED)

    reconciled(charge)

    assert the_delivery(charge, order).event_id != forgotten.pk


def test_within_the_grace_nobody_is_alarmed(charge):
    an_order(timedelta(minutes=14))

    assert reconciled(charge).seen == 0


def test_the_other_effects_of_the_event_are_not_promised_again(make_owed, make_effect):
    placed = Event("test.placed", subject="shop.Order")
    charge = make_owed(on=placed)
    make_effect(on=placed)
    order = an_order()
    with transaction.atomic():
        placed.emit(order)
    Delivery.objects.all().delete()

    reconciled(charge)

    assert [row.effect for row in Delivery.objects.all()] == [charge.name]
    assert OutboxEvent.objects.count() == 1


def test_twice_is_once(charge):
    order = an_order()

    reconciled(charge)
    again = reconciled(charge)

    assert (again.seen, again.done) == (1, 0)
    assert found_in(charge) == {order.pk: "waiting"}
    assert Delivery.objects.count() == OutboxEvent.objects.count() == 1


@pytest.mark.fault("two reconcilers at once", rows="W19")
def test_two_reconcilers_promise_once(charge):
    """Beat and a worker, or two releases: whoever comes second finds it written."""
    orders = [an_order() for _ in range(9)]

    def turn() -> None:
        if (walk := due_walk(charge, "default", Tier.ALL)) is not None:
            go_on(charge, "default", walk, monotonic() + 60)

    at_once(3, turn)

    assert Delivery.objects.count() == len(orders)
    carry_out_all()
    assert LedgerEntry.objects.count() == len(orders)


def test_what_is_paid_meanwhile_is_not_promised(make_owed):
    """The query is asked again in the transaction that writes."""
    asked = []

    def unpaid_once():
        asked.append(1)
        return Order.objects.all() if len(asked) == 1 else Order.objects.none()

    charge = make_owed(query=unpaid_once)
    an_order()

    assert reconciled(charge).done == 0
    assert not Delivery.objects.exists()


def test_what_can_be_verified_is_verified_first(make_owed):
    """It may have happened, and only our row of it is lost: nobody is charged twice."""
    charge = make_owed(verify=lambda _order, _ctx: True)
    order = an_order()

    reconciled(charge)
    before = the_delivery(charge, order).state
    carry_out_all()

    assert before == State.UNCERTAIN
    assert the_delivery(charge, order).state == State.SUCCEEDED
    assert not LedgerEntry.objects.exists()


def test_what_did_not_happen_runs_after_it_was_verified(make_owed):
    charge = make_owed(verify=lambda _order, _ctx: False)
    order = an_order()

    reconciled(charge)
    carry_out_all()
    carry_out_all()

    assert the_delivery(charge, order).state == State.SUCCEEDED
    assert LedgerEntry.objects.count() == 1


@dataclass
class Coupon:
    code: str


def test_a_payload_that_cannot_be_made_up_stops_nobody_else(make_owed, caplog):
    """The error names payload's field; the other orders are paid."""
    caplog.set_level(logging.ERROR, "reliable_effects")
    placed = Event("test.placed_with_coupon", subject="shop.Order", payload=Coupon)
    charge = make_owed(on=placed)
    lost, known = an_order(), an_order()
    with transaction.atomic():
        placed.emit(known, Coupon("x"))
    Delivery.objects.all().delete()

    stretch = reconciled(charge)

    assert stretch.done == 1
    assert [row.event.subject_pk for row in Delivery.objects.all()] == [str(known.pk)]
    assert f"owes to 1, among them {lost.pk}" in caplog.text
    assert "code" in caplog.text


def test_a_debt_that_cannot_be_named_stops_nobody_else(make_owed):
    def debt(order: Order) -> str:
        if order.status == "odd":
            raise ValueError("no month")
        return "2026-11"

    charge = make_owed(query=Order.objects.all, owed={"debt": debt})
    odd, order = an_order(status="odd"), an_order()

    reconciled(charge)

    assert found_in(charge) == {odd.pk: "unreadable", order.pk: "waiting"}


def test_each_debt_of_a_subject_is_its_own(make_owed):
    """An invoice a month: that of July is paid, so that of August has another key."""
    invoice = make_owed(pay, query=Order.objects.all, owed={"debt": lambda order: order.status})
    order = an_order(status="2026-07")
    reconciled(invoice)
    carry_out_all()
    Order.objects.update(status="2026-08")

    reconciled(invoice)
    carry_out_all()

    assert LedgerEntry.objects.values("key").distinct().count() == 2
    assert Delivery.objects.filter(event__subject_pk=str(order.pk)).count() == 2


def test_a_stray_delivery_of_another_effect_is_not_taken_for_it(charge, make_effect):
    order = an_order()
    with transaction.atomic():
        make_effect().promise(order)

    assert found_in(charge) == {order.pk: "unaccounted"}


def test_deliveries_from_before_the_owed_query_are_adopted(make_effect):
    """Under the key of their event; a second one under the debt's key would be a second charge."""
    charge = make_effect(pay, name="test.grown")
    order = an_order()
    with transaction.atomic():
        charge.promise(order)
    charge.owed(since="placed_at", grace=timedelta(0), debt=lambda _: "x")(Order.objects.all)

    before = found_in(charge)
    carry_out_all()
    after = found_in(charge)

    assert (before, after) == ({order.pk: "waiting"}, {order.pk: "contradiction"})
    assert reconciled(charge).done == 0


def test_a_delivery_that_ended_before_this_debt_began_was_for_another(make_effect):
    """July's invoice was sent before the effect had an owed query; August's is still to be sent."""
    invoice = make_effect(pay, name="test.invoice")
    order = an_order()
    with transaction.atomic():
        invoice.promise(order)
    carry_out_all()
    Delivery.objects.update(finished_at=order.placed_at - HOUR)
    invoice.owed(since="placed_at", grace=timedelta(0), debt=lambda _: "x")(Order.objects.all)

    assert found_in(invoice) == {order.pk: "unaccounted"}


def test_a_delivery_that_stands_under_the_debt_of_another_is_left_alone(charge):
    """Keys are unique; whatever stands under ours is never overwritten."""
    order = an_order()
    reconciled(charge)
    Delivery.objects.update(event_id=uuid4(), state=State.CANCELLED, look_at=None)

    reconciled(charge)

    assert Delivery.objects.get().state == State.CANCELLED
    assert found_in(charge) == {order.pk: "cancelled"}
