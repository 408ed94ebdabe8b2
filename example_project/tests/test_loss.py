"""A loss that loses nothing would prove nothing."""

from __future__ import annotations

import pytest

from example_project.loss import found, lose
from example_project.shop.models import Order
from example_project.tests.orders import place
from example_project.tests.test_owed import reconcile
from reliable_effects.models import Delivery, OutboxEvent
from reliable_effects.outbox.sweeps import sweep

pytestmark = pytest.mark.django_db


def test_a_loss_empties_the_table_and_says_what_was_in_it():
    place()

    loss = lose("deliveries")

    assert str(loss) == "10 deliveries, while 10 deliveries were open"
    assert not Delivery.objects.exists()
    assert OutboxEvent.objects.count() == 1


def test_events_and_deliveries_are_lost_together_and_orders_never():
    place()

    loss = lose("deliveries", "events")

    assert loss.rows == {"deliveries": 10, "events": 1}
    assert not OutboxEvent.objects.exists()
    assert Order.objects.count() == 1


def test_what_the_walks_have_found_is_counted():
    place()
    lose("deliveries", "events")
    before = found()

    reconcile()

    assert (before.promised, found().promised, found().events) == (0, 9, 1)


def test_nothing_is_found_where_nothing_was_lost():
    place()

    sweep("default", "reconcile_all", now=True)

    assert found().promised == 0
