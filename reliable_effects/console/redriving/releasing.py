"""
Give the next deliveries of an operation back to the workers.

In the caller's transaction: that they are redriven, and that they were released, share one fate.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from ...clock import in_utc
from ...outbox import remedy
from ...outbox.models import Delivery
from ...outbox.states import State
from . import ramp
from .gathering import frozen
from .models import Outcome, RedriveItem, RedriveItemQuerySet, RedriveOperation
from .selection import Selection

_HELD = 500  # deliveries that somebody holds are gone round; more of them keep the rest waiting
_LOOK = 50  # deliveries that are locked together, at least


def release(operation: RedriveOperation, now: datetime, count: int) -> tuple[int, int]:
    """
    Redrive the next *count*; how many that were, and how many of those before are held by others.

    Those of them that cannot be are left alone, and the rest go on.
    """
    using = operation._state.db
    items = RedriveItem.objects.using(using)
    following, held = _free(items.next_in(operation), count)
    ids = [delivery for _, delivery in following]
    states = Selection.from_json(operation.selection).states
    rows = frozen(remedy.of(str(using), ids), operation.created_at).filter(state__in=states)
    why = f"{operation.why} ({operation})"
    changed = {row.pk for row in remedy.redrive(rows, by=operation.by, why=why)}
    released = [item for item, delivery in following if delivery in changed]
    items.filter(pk__in=released).update(
        outcome=Outcome.RELEASED, released_at=now, look_at=now + timedelta(seconds=1)
    )
    left = [pair for pair in following if pair[1] not in changed]
    _leave_alone(operation, left)
    operation.released += len(released)
    if released:
        operation.paid_until = ramp.paid(
            len(released), operation.rate, instant(operation.paid_until), now
        )
        operation.released_at = now
    return len(released), held


def _free(items: RedriveItemQuerySet, count: int) -> tuple[list[tuple[int, int]], int]:
    """
    The first *count* whose deliveries nobody else holds, locked; and how many are held.

    A held one comes in a later step. PostgreSQL would wait for it without any bound.
    """
    using = items.db
    ahead = list(items.values_list("pk", "delivery_id")[: count + _HELD])
    free: list[tuple[int, int]] = []
    held = 0
    while ahead and len(free) < count:
        size = max(count - len(free), _LOOK)
        batch, ahead = ahead[:size], ahead[size:]
        rows = remedy.of(using, [delivery for _, delivery in batch]).order_by("pk")
        known = set(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
        others = set(rows.values_list("pk", flat=True)) - known if len(known) < len(batch) else ()
        free += [pair for pair in batch if pair[1] not in others]
        held += len(others)
    return free[:count], held


def _leave_alone(operation: RedriveOperation, left: Sequence[tuple[int, int]]) -> None:
    if not left:
        return
    using = operation._state.db
    rows = Delivery.objects.using(using).in_bulk([delivery for _, delivery in left])
    by_remark: dict[str, list[int]] = {}
    for item, delivery in left:
        remark = _why_left(rows.get(delivery), operation.created_at)
        by_remark.setdefault(remark, []).append(item)
    for remark, items in by_remark.items():
        RedriveItem.objects.using(using).filter(pk__in=items).update(
            outcome=Outcome.LEFT_ALONE, remark=remark
        )
    operation.left_alone += len(left)


def _why_left(row: Delivery | None, asked_at: datetime) -> str:
    if row is None:
        return "it is no longer in the database"
    if why := remedy.LEFT_ALONE["redrive"].get(State(row.state)):
        return why
    if row.finished_at is not None and in_utc(row.finished_at) <= in_utc(asked_at):
        return "the database refused to change it; the log of the worker says why"
    return "something happened to it after this was asked for"


def instant(value: datetime | None) -> datetime | None:
    return None if value is None else in_utc(value)
