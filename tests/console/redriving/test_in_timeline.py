"""A delivery's page says which operations it was in, by whom, and what became of it there."""

from __future__ import annotations

import pytest

from reliable_effects.console.timeline import timeline
from reliable_effects.outbox.models import Delivery
from tests.outbox.conftest import poisoned_delivery

from .conftest import begun, later, swept

pytestmark = pytest.mark.django_db(transaction=True)


def told_of(row: Delivery) -> list[str]:
    row.refresh_from_db()
    return [f"{e.text}, {e.by}" for e in timeline.of(row).entries if "operation" in e.text]


def test_an_operation_is_told_from_when_a_delivery_was_chosen(make_effect):
    """Forty thousand entries of one click are in no log: this is where it is found."""
    first, second = (poisoned_delivery(make_effect()) for _ in range(2))
    operation = begun(canary=1)
    swept()

    assert told_of(first) == [f"Redriven by {operation}, ada"]
    assert told_of(second) == [f"Chosen for {operation}, ada"]
    whys = [d.text for e in timeline.of(second).entries for d in e.details if d.name == "why"]
    assert operation.why in whys


def test_what_was_left_alone_says_why(make_effect):
    """Somebody was quicker."""
    effect = make_effect()
    row, other = poisoned_delivery(effect), poisoned_delivery(effect)
    operation = begun(canary=1)
    swept()
    Delivery.objects.filter(pk=other.pk).delete()
    Delivery.objects.filter(pk=row.pk).update(state=2, look_at=None)  # succeeded
    for _ in range(3):
        with later(5):
            swept()
    other.save(force_insert=True)

    assert told_of(other) == [f"Left alone by {operation}, ada"]
