"""A savepoint that is rolled back behind Django's back: its hint goes out, and finds no row."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from reliable_effects.outbox import dispatch
from reliable_effects.outbox.deliver import on_hint
from reliable_effects.outbox.models import Delivery, OutboxEvent
from tests.faults.place.effects import ring
from tests.shop.models import Order
from tests.sweeps import transport


@pytest.mark.django_db(transaction=True)
@pytest.mark.fault("a savepoint is rolled back by SQL, and the hook does not know", rows="D14")
def test_a_hint_without_its_row_does_nothing(outside, settings, evidence):
    """A stored procedure, or a driver's own savepoint: the hook is still registered."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "tests.sweeps.transport.send"}
    transport.reset()

    with transaction.atomic(), connection.cursor() as cursor:
        kept = Order.objects.create()
        ring.promise(kept)
        cursor.execute("SAVEPOINT ours")
        ring.promise(Order.objects.create())
        cursor.execute("ROLLBACK TO SAVEPOINT ours")

    dispatch.flush()
    [(_, ids)] = transport.hints
    assert len(ids) == 2
    on_hint({"v": 1, "db": "default", "ids": ids})
    assert Delivery.objects.count() == OutboxEvent.objects.count() == 1
    verdict = outside.judge([f"ring {kept.pk}"])
    evidence.judged(verdict)
