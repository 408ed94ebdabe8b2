from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from benchmarks.side_by_side.site.events import placed, shipped, viewed
from benchmarks.side_by_side.site.models import Order
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import ENDED_WELL


def owe(order: Order, effects: int, kind: str) -> None:
    match kind:
        case "slow":
            shipped.emit(order)
        case "harmless":
            viewed.emit(order)
        case _:
            placed[effects].emit(order)


def fill(orders: Sequence[Order], kind: str) -> None:
    event = viewed if kind == "harmless" else placed[1]
    with transaction.atomic():
        event.emit_many([(order, None) for order in orders])


def unfinished() -> int:
    return Delivery.objects.exclude(state__in=ENDED_WELL).count()
