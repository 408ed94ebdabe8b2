from __future__ import annotations

from benchmarks.side_by_side.applications.procrastinate import carry_out, fill, unfinished
from benchmarks.side_by_side.site.models import Order

__all__ = ["fill", "owe", "unfinished"]


def owe(order: Order, effects: int, kind: str) -> None:
    carry_out.batch_defer(
        *({"order": order.pk, "number": number, "kind": kind} for number in range(effects))
    )
