"""A worker may die anywhere in an effect, and the order must come out right all the same."""

from __future__ import annotations

import pytest

from example_project.shop.effects import add_loyalty_points, charge_card, open_shipment
from example_project.tests.orders import place
from reliable_effects.testing import assert_crash_safe

pytestmark = pytest.mark.django_db


def test_loyalty_points_are_given_once_wherever_the_worker_dies():
    """It has no partner that would know a repeat: `atomic` alone makes it once."""
    order = place()

    assert_crash_safe(add_loyalty_points, order)


def test_a_card_is_charged_once_wherever_the_worker_dies(partners):
    """The partner knows the repeat by its key, which no death changes."""
    order = place()

    assert_crash_safe(charge_card, order, observe=lambda: partners.applied(order.reference))

    assert partners.applied(order.reference) == ["payment"]


def test_a_shipment_is_opened_once_wherever_the_worker_dies():
    order = place()

    assert_crash_safe(open_shipment, order)
