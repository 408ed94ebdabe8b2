from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django_outbox_pattern.choices import StatusChoice
from django_outbox_pattern.models import Published

from benchmarks.side_by_side.contenders.django_outbox_pattern import DESTINATION
from benchmarks.side_by_side.site.carry_out import look_and_act
from benchmarks.side_by_side.site.models import Order


def receive(payload: Any) -> None:
    body = payload.body
    with transaction.atomic():
        look_and_act(body["order"], body["number"], body["kind"])
        payload.save()


def owe(order: Order, effects: int, kind: str) -> None:
    for number in range(effects):
        body = {"order": order.pk, "number": number, "kind": kind}
        Published.objects.create(destination=DESTINATION, body=body)


def fill(orders: Sequence[Order], kind: str) -> None:
    with transaction.atomic():
        for order in orders:
            owe(order, 1, kind)


def unfinished() -> int:
    """Unsent, that is."""
    return Published.objects.exclude(status=StatusChoice.SUCCEEDED).count()
