"""`make prove` judges by the business tables and the ledger: it must read all that stands there."""

from __future__ import annotations

import pytest

from example_project.checker import Arrival, Verdict, asked_on_both_sides, check
from example_project.loss import lose
from example_project.prove import as_arrivals, placed_orders
from example_project.shop.models import LoyaltyEntry, Order, Shipment
from example_project.tests.orders import place
from example_project.tests.test_owed import reconcile
from example_project.tests.test_shop import LATER
from reliable_effects.testing import run_effects

pytestmark = pytest.mark.django_db
MARKS = [
    "charge_id", "receipt_sent_at", "stock_reserved_at", "crm_told_at", "counted_at", "indexed_at",
    "wrapped_at", "label_printed_at",
]  # fmt: skip


def arrivals(partners) -> list[Arrival]:
    return as_arrivals(partners.arrivals())


def judge(partners, *orders: Order) -> Verdict:
    return check(
        acknowledged=[order.reference for order in orders],
        orders=placed_orders(),
        arrivals=arrivals(partners),
    )


def test_an_order_that_was_carried_out_is_sound(partners):
    order = place(gift=True)

    run_effects()

    assert judge(partners, order).is_sound


def test_an_order_that_nobody_has_carried_out_is_lost(partners):
    verdict = judge(partners, place())

    assert len(verdict.lost) == verdict.promised - verdict.skipped == 10


@pytest.mark.parametrize("mark", MARKS)
def test_each_mark_that_is_missing_is_a_loss(partners, mark):
    order = place(gift=True)
    run_effects()
    Order.objects.update(**{mark: None})

    assert len(judge(partners, order).lost) == 1


def test_a_carrier_points_or_a_shipment_that_are_missing_are_losses(partners):
    order = place()
    run_effects()
    Shipment.objects.update(carrier_reference="")
    LoyaltyEntry.objects.all().delete()

    assert len(judge(partners, order).lost) == 2


def test_a_lost_outbox_shows_in_the_ledger_as_calls_on_both_sides_of_the_loss(partners):
    order = place()
    partners.behave(mail={"fail": 1}, crm={"drop": 1})
    run_effects(record=True)
    before = len(arrivals(partners))
    lose("deliveries", "events")
    partners.behave(mail={}, crm={})

    reconcile()
    run_effects(until=LATER)

    assert judge(partners, order).is_sound
    assert asked_on_both_sides(arrivals(partners), [before]) == (2, 2)
