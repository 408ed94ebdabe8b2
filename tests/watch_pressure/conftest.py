"""Backlogs, and a process that has not looked yet."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from reliable_effects.clock import DbNow
from reliable_effects.effects.keys import new_event_id
from reliable_effects.outbox import outage
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.states import State
from reliable_effects.watch import shedding
from tests.forgetting import forget_everything

MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _this_process_has_seen_nothing(settings: Any) -> Iterator[None]:
    settings.ROOT_URLCONF = "tests.rest_framework.views"
    forget_everything()
    outage.forget()
    shedding.forget()
    yield
    forget_everything()
    outage.forget()
    shedding.forget()


def look_anew() -> None:
    """As if two seconds had passed: what was seen is old, and what is closed is still closed."""
    for limit in shedding.declared:
        for line in limit._lines.values():
            line._pressure._stale_at = line._drain._stale_at = float("-inf")


def backlog(
    count: int, *, age: timedelta = timedelta(seconds=1), queue: str = "payments", **columns: Any
) -> list[Delivery]:
    """*count* deliveries of one event that have been due for *age*."""
    event = OutboxEvent.objects.create(
        id=new_event_id(), name="shop.order_seen", correlation=uuid4(), source="emit"
    )
    values = {"state": State.PENDING, "look_at": DbNow() - age} | columns
    return Delivery.objects.bulk_create(
        Delivery(
            event=event,
            effect="shop.charge_card",
            key=uuid4(),
            queue=queue,
            due_at=DbNow() - age,
            **values,
        )
        for _ in range(count)
    )


def finish(count: int) -> None:
    """*count* of the payments have just succeeded."""
    done = list(Delivery.objects.due().filter(queue="payments").order_by("pk")[:count])
    Delivery.objects.filter(pk__in=[row.pk for row in done]).update(
        state=State.SUCCEEDED, look_at=None, finished_at=DbNow()
    )
