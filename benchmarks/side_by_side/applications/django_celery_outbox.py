"""The hand-written task, sent through the outbox; `OutboxCelery` takes over `delay`."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django_celery_outbox.models import CeleryOutbox

from benchmarks.side_by_side.applications.celery import carry_out
from benchmarks.side_by_side.site.models import Order


def owe(order: Order, effects: int, kind: str) -> None:
    for number in range(effects):
        carry_out.delay(order.pk, number, kind)


def fill(orders: Sequence[Order], kind: str) -> None:
    with transaction.atomic():
        for order in orders:
            carry_out.delay(order.pk, 0, kind)


def unfinished() -> int:
    """Unsent, that is: whether what was sent has run, it does not know."""
    return CeleryOutbox.objects.count()
