"""event_emitted is told once it is committed, and says what is owed because of it."""

from __future__ import annotations

import pytest
from django.db import transaction

from reliable_effects import signals
from reliable_effects.outbox.models import OutboxEvent
from tests.outbox.conftest import listening
from tests.shop.effects import charge_card
from tests.shop.events import order_placed
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)

EFFECTS = {"shop.send_receipt": 1, "shop.charge_card": 1, "shop.count_points": 1}


def test_it_is_told_when_it_is_committed():
    """Until then it has not happened."""
    with listening(signals.event_emitted) as told, transaction.atomic():
        emitted = order_placed.emit(Order.objects.create())
        before = list(told)

    assert not before
    assert told == [
        {
            "sender": order_placed,
            "signal": signals.event_emitted,
            "event_ids": [emitted.event_id],
            "promised": EFFECTS,
            "source": "emit",
            "using": "default",
        }
    ]


def test_what_was_rolled_back_is_not_told():
    """Nor with a savepoint inside what was committed."""
    with listening(signals.event_emitted) as told, transaction.atomic(), transaction.atomic():
        order_placed.emit(Order.objects.create())
        transaction.set_rollback(True)

    assert not told


def test_many_are_told_together():
    """One call, one signal."""
    with listening(signals.event_emitted) as told, transaction.atomic():
        order_placed.emit_many([(Order.objects.create(), None) for _ in range(3)])

    (fact,) = told
    assert len(fact["event_ids"]) == OutboxEvent.objects.count() == 3
    assert fact["promised"] == dict.fromkeys(EFFECTS, 3)


def test_what_was_owed_before_is_not_promised_again():
    """The debt of a charge stands under its key, and another worker may have it in hand."""
    order = Order.objects.create()
    with transaction.atomic():
        charge_card.promise(order, once="first")

    with listening(signals.event_emitted) as told, transaction.atomic():
        charge_card.promise(order, once="first")

    (fact,) = told
    assert (fact["promised"], fact["source"]) == ({}, "promise")
    assert fact["sender"] is charge_card.own_event
