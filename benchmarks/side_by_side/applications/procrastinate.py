from __future__ import annotations

from collections.abc import Sequence

from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob

from benchmarks.side_by_side.site.carry_out import look_and_act
from benchmarks.side_by_side.site.models import Order


@app.task(name="bench.carry_out")
def carry_out(order: int, number: int, kind: str) -> None:
    look_and_act(order, number, kind)


def owe(order: Order, effects: int, kind: str) -> None:
    for number in range(effects):
        carry_out.defer(order=order.pk, number=number, kind=kind)


def fill(orders: Sequence[Order], kind: str) -> None:
    carry_out.batch_defer(*({"order": order.pk, "number": 0, "kind": kind} for order in orders))


def unfinished() -> int:
    return ProcrastinateJob.objects.exclude(status="succeeded").count()
