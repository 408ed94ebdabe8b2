"""What a person may do: begin a redrive of many, pause it, resume it, cancel it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db import transaction
from django.db.models import F

from ...clock import read_clock
from .models import ACTIVE, CANCELLABLE, RESUMABLE, OperationState, RedriveOperation
from .selection import Selection
from .steps import tell

_TWINS = 20  # operations with the same words that are compared


def begin(
    using: str,
    selection: Selection,
    *,
    by: str,
    why: str,
    canary: int,
    rate: int,
    halt_percent: int,
) -> RedriveOperation:
    """
    Write the operation down; its sweep gathers and releases, whatever becomes of this process.

    *canary* at most *rate*: a first minute is no faster than any other.

    Raises:
        ValueError: a number is out of its range, or *why* is empty.
    """
    if not why.strip():
        raise ValueError("why= is empty; say why, for whoever reads it later.")
    if not 1 <= canary <= rate:
        raise ValueError(f"canary={canary} and rate={rate}: 1 <= canary <= rate is needed.")
    if not 1 <= halt_percent <= 100:  # noqa: PLR2004  # all of it
        raise ValueError(f"halt_percent={halt_percent}; it needs to be from 1 to 100.")
    row = RedriveOperation.objects.using(using).create(
        selection=selection.to_json(),
        said=selection.in_words(),
        by=by[:150],
        why=why,
        canary=canary,
        rate=rate,
        halt_percent=halt_percent,
    )
    return RedriveOperation.objects.using(using).get(pk=row.pk)


def going_on(using: str, selection: Selection) -> RedriveOperation | None:
    """An operation about the very same that has not ended: a form that is sent twice begins one."""
    live = RedriveOperation.objects.using(using).filter(ended_at=None, state__in=CANCELLABLE)
    same = live.filter(said=selection.in_words()).order_by("-pk")[:_TWINS]
    return next((row for row in same if row.selection == selection.to_json()), None)


def pause(operation: RedriveOperation, *, by: str, why: str) -> bool:
    """Release nothing more, until it is resumed. What was released runs on. Whether it won."""
    return _moved(
        operation, ACTIVE, lambda _: {"state": OperationState.PAUSED}, f"paused by {by}: {why}"
    )


def resume(operation: RedriveOperation, *, by: str, why: str) -> bool:
    """Go on. What was halted begins with a new canary: somebody says that the cause is mended."""
    return _moved(operation, RESUMABLE, _resumed, f"resumed by {by}: {why}")


def cancel(operation: RedriveOperation, *, by: str, why: str) -> bool:
    """Release nothing more, for good. What was released runs on; the others stay as they are."""
    return _moved(
        operation,
        CANCELLABLE,
        lambda _: {"state": OperationState.CANCELLED},
        f"cancelled by {by}: {why}",
    )


def _resumed(row: RedriveOperation) -> dict[str, Any]:
    gathered = row.gathered_at is not None
    values: dict[str, Any] = {
        "state": OperationState.RUNNING if gathered else OperationState.GATHERING
    }
    if row.state == OperationState.HALTED:
        values |= {"pace": 0, "round_known": 0, "round_failing": 0}
    return values


def _moved(
    operation: RedriveOperation,
    states: Sequence[OperationState],
    values: Callable[[RedriveOperation], dict[str, Any]],
    told: str,
) -> bool:
    using = str(operation._state.db)
    rows = RedriveOperation.objects.using(using).filter(pk=operation.pk, ended_at=None)
    with transaction.atomic(using=using):
        # Waits for a step that is under way, and lets it end: then nobody else writes this row.
        if rows.filter(state__in=states).update(turn=F("turn") + 1) != 1:
            return False
        row = rows.get()
        tell(row, read_clock(using), told)
        rows.update(history=row.history, remark="", **values(row))
    operation.refresh_from_db()
    return True
