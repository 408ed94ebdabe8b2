"""A task as an expert writes it: acknowledged late, and one guarded UPDATE."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from celery import shared_task
from django.db import connection, transaction

from benchmarks.side_by_side.site.carry_out import act
from benchmarks.side_by_side.site.models import Order

# It looks again and marks at once, so it is one round trip; whoever else has the message gets 0.
_MARK = """UPDATE bench_order SET done = done | %s
WHERE id = %s AND status = 'placed' AND done & %s = 0"""


@shared_task(name="bench.carry_out")
def carry_out(order: int, number: int, kind: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_MARK, [1 << number, order, 1 << number])
        is_ours = cursor.rowcount == 1
    if is_ours:
        act(order, number, kind)


def owe(order: Order, effects: int, kind: str) -> None:
    for number in range(effects):
        transaction.on_commit(partial(carry_out.delay, order.pk, number, kind))


def fill(orders: Sequence[Order], kind: str) -> None:
    with carry_out.app.producer_or_acquire() as producer:
        for order in orders:
            carry_out.apply_async((order.pk, 0, kind), producer=producer)


def unfinished() -> int:
    return -1  # nobody knows: the messages are all there is
