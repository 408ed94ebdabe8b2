from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from django.db import transaction
from huey.contrib.djhuey import task

from benchmarks.side_by_side.site.carry_out import look_and_act
from benchmarks.side_by_side.site.models import Order


@task(name="bench.carry_out")
def carry_out(order: int, number: int, kind: str) -> None:
    look_and_act(order, number, kind)


def owe(order: Order, effects: int, kind: str) -> None:
    for number in range(effects):
        transaction.on_commit(partial(carry_out, order.pk, number, kind))


def fill(orders: Sequence[Order], kind: str) -> None:
    for order in orders:
        carry_out(order.pk, 0, kind)


def unfinished() -> int:
    return -1
