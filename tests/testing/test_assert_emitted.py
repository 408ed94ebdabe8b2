"""Assertions about what was promised, and what they say when they fail."""

from __future__ import annotations

import pytest
from django.db import transaction

from reliable_effects.exceptions import BadSubject
from reliable_effects.testing import assertEmitted, assertNotEmitted
from tests.shop.effects import wrap
from tests.shop.events import OrderPlaced, order_charged, order_placed
from tests.shop.models import LedgerEntry, Order

pytestmark = pytest.mark.django_db


@pytest.fixture
def order():
    with transaction.atomic():
        order = Order.objects.create()
        order_placed.emit(order, OrderPlaced(coupon="TEA"))
    return order


def test_what_was_emitted_is_found(order):
    assertEmitted(order_placed)
    assertEmitted(order_placed, order)
    assertEmitted(order_placed, order, OrderPlaced(coupon="TEA"), count=1)


@pytest.mark.usefixtures("order")
def test_what_was_not_emitted_is_not_found():
    assertNotEmitted(order_charged)
    assertNotEmitted(order_placed, Order.objects.create())
    assertEmitted(order_placed, Order.objects.create(), count=0)


def test_what_was_rolled_back_was_not_emitted(order):
    """Nobody will act on it."""
    with transaction.atomic():
        order_charged.emit(order)
        transaction.set_rollback(True)

    assertNotEmitted(order_charged)


def test_a_promise_is_found_by_its_effect(order):
    with transaction.atomic():
        wrap.promise(order)

    assertEmitted(wrap, order)


def test_the_message_shows_what_was_emitted_instead(order):
    with pytest.raises(AssertionError) as raised:
        assertEmitted(order_charged, order)

    assert str(raised.value) == (
        f"shop.order_charged about shop.order {order.pk} was not emitted. Emitted were:\n"
        f"  shop.order_placed about shop.order {order.pk} with {{'coupon': 'TEA'}}"
    )


def test_the_message_says_when_nothing_was_emitted():
    with pytest.raises(AssertionError, match=r"was not emitted\. Nothing was emitted\."):
        assertEmitted(order_placed)


@pytest.mark.parametrize("payload", [OrderPlaced(coupon="MILK"), OrderPlaced()])
def test_another_payload_is_another_fact(order, payload):
    with pytest.raises(AssertionError, match="'coupon': 'TEA'"):
        assertEmitted(order_placed, order, payload)


def test_too_many_are_counted(order):
    with transaction.atomic():
        order_placed.emit(order)

    with pytest.raises(AssertionError, match="was emitted 2 times, not 1"):
        assertEmitted(order_placed, order, count=1)


@pytest.mark.usefixtures("order")
def test_what_should_not_have_been_emitted_fails():
    with pytest.raises(AssertionError, match=r"shop\.order_placed was emitted"):
        assertNotEmitted(order_placed)


@pytest.mark.usefixtures("order")
def test_a_subject_of_another_model_is_a_mistake_of_the_test():
    """It could never have been emitted, so its absence says nothing."""
    with pytest.raises(BadSubject):
        assertNotEmitted(order_placed, LedgerEntry.objects.create(order_pk=1))


def test_pytest_users_get_fixtures(assert_emitted, assert_not_emitted):
    assert assert_emitted is assertEmitted
    assert assert_not_emitted is assertNotEmitted
