"""The hint that follows a commit: one per transaction and queue, and none after a rollback."""

from __future__ import annotations

import itertools

import pytest
from django.db import transaction

from reliable_effects.outbox.models import Delivery
from tests import recording
from tests.shop.effects import wrap
from tests.shop.events import OrderPlaced, order_placed
from tests.shop.models import Order
from tests.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


class Boom(Exception):
    """Something else in the view goes wrong."""


@transaction.atomic
def promise_and_fail() -> None:
    wrap.promise(Order.objects.create())
    raise Boom


@pytest.fixture(autouse=True)
def _recorded(settings):
    recording.sent.clear()
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "tests.recording.send"}


def ids(queue: str | None = None) -> list[int]:
    rows = Delivery.objects.order_by("pk")
    return list((rows.filter(queue=queue) if queue else rows).values_list("pk", flat=True))


def heard(hints: int) -> list[list[int]]:
    """The ids of so many hints, each in order: the publisher has a thread of its own."""
    eventually(lambda: len(recording.sent) >= hints)
    return [sorted(each) for each in recording.ids_sent()]


def test_one_hint_per_transaction_and_queue():
    """However many events and effects it promised, and however deep the atomic blocks lie."""
    with transaction.atomic():
        order = Order.objects.create()
        order_placed.emit(order, OrderPlaced())
        with transaction.atomic():
            wrap.promise(order)
            with transaction.atomic(savepoint=False):
                wrap.promise(Order.objects.create())
        assert recording.sent == []

    heard(2)
    assert {queue: sorted(hint["ids"]) for queue, hint in recording.sent} == {
        "effects": ids("effects"),
        "payments": ids("payments"),
    }
    assert all((hint["v"], hint["db"]) == (1, "default") for _, hint in recording.sent)


def test_nothing_is_said_of_what_was_rolled_back():
    """A worker would look for rows that never were."""
    with pytest.raises(Boom):
        promise_and_fail()
    with transaction.atomic():
        wrap.promise(Order.objects.create())

    assert heard(1) == [ids()]


def test_an_emit_after_a_rolled_back_savepoint_is_hinted():
    """Django forgets the hook with the savepoint; a flag of ours would think it still there."""
    with transaction.atomic():
        with pytest.raises(Boom):
            promise_and_fail()
        wrap.promise(Order.objects.create())

    assert heard(1) == [ids()]


def test_an_emit_before_a_rolled_back_savepoint_is_hinted():
    """What the savepoint added may be in the hint as well: those ids find no row."""
    with transaction.atomic():
        wrap.promise(Order.objects.create())
        with pytest.raises(Boom):
            promise_and_fail()

    (hinted,) = heard(1)
    assert set(ids()) <= set(hinted)


def test_more_than_fifty_deliveries_are_several_hints():
    """A worker gets through about fifty in the time that one hint may take."""
    with transaction.atomic():
        for _ in range(120):
            wrap.promise(Order.objects.create())

    hints = heard(3)
    assert [len(each) for each in hints] == [50, 50, 20]
    assert sorted(itertools.chain(*hints)) == ids()


def test_what_is_hinted_is_left_to_its_hint_for_a_while():
    """The relay would say it a second time."""
    with transaction.atomic():
        wrap.promise(Order.objects.create())

    delivery = Delivery.objects.get()
    assert delivery.hints == 1
    assert 9 <= (delivery.look_at - delivery.due_at).total_seconds() <= 11


@pytest.mark.parametrize("transport", ["none", "tests.recording.send"])
def test_a_promise_that_already_stands_is_not_hinted_again(settings, transport):
    """There is nothing new to look at."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": transport}
    order = Order.objects.create()
    with transaction.atomic():
        wrap.promise(order, once="x")
    first = 0 if transport == "none" else len(heard(1))

    with transaction.atomic():
        wrap.promise(order, once="x")
    with transaction.atomic():  # one more, so that there is something to wait for
        wrap.promise(order, once="y")

    if first:
        assert heard(2) == [[pk] for pk in ids()]
    assert len(ids()) == 2
