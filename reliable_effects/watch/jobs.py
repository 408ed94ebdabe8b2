"""Jobs that are late, blocked or missed, by table: each count walks an index and ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..clock import DbNow
from ..schedule.models import LATE
from ..schedule.states import JobState
from ..schedule.tables import JobTable, tables


@dataclass(kw_only=True)
class Jobs:
    """Of one table, ours or a project's own."""

    table: str
    late: int  # their time came a while ago, and no tick has emitted them
    oldest_late: timedelta | None
    blocked: int
    missed: int


def of(alias: str, now: datetime, at_most: int) -> Iterator[Jobs]:
    """Each count ends at *at_most*."""
    for table in tables(alias):
        waiting = table.rows(alias).filter(state=JobState.WAITING).order_by("at")
        late = list(waiting.filter(at__lte=DbNow() - LATE).values_list("at", flat=True)[:at_most])
        yield Jobs(
            table=table.label,
            late=len(late),
            oldest_late=now - late[0] if late else None,
            blocked=_count(alias, table, JobState.BLOCKED, at_most),
            missed=_count(alias, table, JobState.MISSED, at_most),
        )


def _count(alias: str, table: JobTable, state: JobState, at_most: int) -> int:
    rows = table.rows(alias).filter(state=state).order_by("at")
    return len(rows.values_list("pk")[:at_most])
