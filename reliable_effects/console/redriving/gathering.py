"""
Freeze a selection: which deliveries an operation is about, written down a chunk at a time.

Rows and cursor share one transaction, so a killed process repeats nothing. Taken is what had ended
when the operation was asked for: what fails meanwhile was not part of what the person saw.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef, Q

from ...outbox import narrowing
from ...outbox.models import Attempt, Delivery, DeliveryQuerySet
from ...outbox.states import SET_ASIDE, State
from .models import RedriveItem, RedriveOperation
from .selection import Selection

CHUNK = 2000  # rows walked over in one transaction: tens of milliseconds


def gather(operation: RedriveOperation) -> bool:
    """Take the next chunk into *operation*, in the caller's transaction; whether that was all."""
    using = operation._state.db or "default"
    selection = Selection.from_json(operation.selection)
    states = selection.states
    if operation.line >= len(states):
        return True
    state = states[operation.line]
    walked = _next_ids(using, selection, state, operation.cursor)
    if walked:
        here = Selection(ids=tuple(walked)) if selection.ids else selection
        rows = frozen(here.rows(using), operation.created_at)
        rows = rows.filter(state=state, pk__gte=walked[0], pk__lte=walked[-1])
        operation.gathered += _write(using, operation, rows)
        operation.cursor = walked[-1]
    if len(walked) < CHUNK:
        operation.line += 1
        operation.cursor = 0
    return operation.line >= len(states)


def frozen(rows: DeliveryQuerySet, asked_at: Any) -> DeliveryQuerySet:
    """Those of *rows* that nothing has happened to since *asked_at*."""
    # What is uncertain has no end; its last attempt tells.
    later = Attempt.objects.filter(delivery=OuterRef("pk"), ended_at__gt=asked_at)
    uncertain = Q(state=State.UNCERTAIN, finished_at=None) & ~Exists(later.using(rows.db))
    return rows.filter(Q(finished_at__lte=asked_at) | uncertain)


def _next_ids(using: str, selection: Selection, state: State, cursor: int) -> list[int]:
    """
    The ids of the next chunk, wanted or not: a walk along an index, however few are wanted.

    To ask for the next 2,000 that are wanted could read a table of millions in one statement.
    """
    if selection.ids:
        return [pk for pk in selection.ids if pk > cursor][:CHUNK]
    rows = Delivery.objects.using(using).filter(pk__gt=cursor)
    if state in SET_ASIDE:
        rows = rows.filter(state=state)
        if selection.group:
            rows = rows.filter(narrowing.of_group(selection.group))
    return list(rows.order_by("pk").values_list("pk", flat=True)[:CHUNK])


def _write(using: str, operation: RedriveOperation, rows: DeliveryQuerySet) -> int:
    items = RedriveItem.objects.using(using)
    wanted = list(rows.order_by("pk").values_list("pk", flat=True))
    # One that has changed its state since an earlier line was walked over.
    known = set(
        items.filter(operation=operation, delivery_id__in=wanted).values_list("delivery", flat=True)
    )
    new = [RedriveItem(operation=operation, delivery_id=pk) for pk in wanted if pk not in known]
    items.bulk_create(new)
    return len(new)
