from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.tasks import task
from django_tasks_db.models import DBTaskResult

from benchmarks.side_by_side.site.carry_out import look_and_act
from benchmarks.side_by_side.site.models import Order


@task
def carry_out(order: int, number: int, kind: str) -> None:
    look_and_act(order, number, kind)


def owe(order: Order, effects: int, kind: str) -> None:
    for number in range(effects):
        carry_out.enqueue(order.pk, number, kind)


def fill(orders: Sequence[Order], kind: str) -> None:
    with transaction.atomic():
        for order in orders:
            carry_out.enqueue(order.pk, 0, kind)


def unfinished() -> int:
    return DBTaskResult.objects.exclude(status="SUCCESSFUL").count()
