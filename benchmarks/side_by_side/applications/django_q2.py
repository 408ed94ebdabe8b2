from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django_q.models import OrmQ
from django_q.tasks import async_task

from benchmarks.side_by_side.site.carry_out import look_and_act
from benchmarks.side_by_side.site.models import Order

_ACT = "benchmarks.side_by_side.applications.django_q2.carry_out"


def carry_out(order: int, number: int, kind: str) -> None:
    look_and_act(order, number, kind)


def owe(order: Order, effects: int, kind: str) -> None:
    for number in range(effects):
        async_task(_ACT, order.pk, number, kind)


def fill(orders: Sequence[Order], kind: str) -> None:
    with transaction.atomic():
        for order in orders:
            async_task(_ACT, order.pk, 0, kind)


def unfinished() -> int:
    return OrmQ.objects.count()
