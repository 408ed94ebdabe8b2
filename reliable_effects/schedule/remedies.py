"""
What a person may do to a job: run it now, move it, or give it up. The same row, guarded, never deleted.

It works on our jobs and on a project's own. Each verb takes rows of one table, and gives those that
it changed; what has ended as it should is left alone, and so is a missed job whose key another has
by now.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from ..clock import DbNow
from ..effects.registry import registry
from ..effects.scheduling import When
from ..exceptions import UnknownEvent
from ..outbox.remedy import on_writer
from .jobs import held_by
from .models import ScheduledJob
from .states import JOB_MOVES, OPEN, JobState
from .tables import JobTable
from .times import moment

logger = logging.getLogger("reliable_effects")

Columns = dict[str, Any]


def run_now(table: JobTable, rows: QuerySet[Any], *, by: str, why: str) -> list[Any]:
    """Due now: the next tick emits them, however late they are."""
    columns = {"at": DbNow(), "wall_clock": ""}
    return _changed("run now", table, rows, lambda rows: _wait(rows, columns), by=by, why=why)


def reschedule(table: JobTable, rows: QuerySet[Any], at: When, *, by: str, why: str) -> list[Any]:
    """
    Move *rows* to another time.

    Raises:
        BadSchedule: *at* is no time.
    """
    when = moment(table.label, at)
    columns = {"at": when.at, "wall_clock": when.wall_clock}
    return _changed("rescheduled", table, rows, lambda rows: _wait(rows, columns), by=by, why=why)


def cancel(table: JobTable, rows: QuerySet[Any], *, by: str, why: str) -> list[Any]:
    """Give *rows* up."""

    def change(rows: QuerySet[Any]) -> list[Any]:
        locked = _locked(rows, CANCELLABLE)
        _all(rows, locked).update(**table.ended(JobState.CANCELLED))
        return locked

    return _changed("cancelled", table, rows, change, by=by, why=why)


RUNNABLE = tuple(s for s in JobState if JobState.WAITING in JOB_MOVES[s] or s in OPEN)
CANCELLABLE = tuple(s for s in JobState if JobState.CANCELLED in JOB_MOVES[s])


def left_alone(state: JobState) -> str:
    """Why no verb changes a job of that state; "" where each does."""
    match state:
        case JobState.DONE:
            return "its event was emitted: redrive its deliveries, or cancel them"
        case JobState.CANCELLED:
            return "it is cancelled"
        case _:
            return ""


def _changed(
    done: str,
    table: JobTable,
    rows: QuerySet[Any],
    change: Callable[[QuerySet[Any]], list[Any]],
    *,
    by: str,
    why: str,
) -> list[Any]:
    rows = on_writer(rows)
    with transaction.atomic(using=rows.db):
        changed = change(rows)
    for job in changed:
        logger.info("%s the job %s by=%r why=%r", done, table.name(job), by, why)
    return changed


def _wait(rows: QuerySet[Any], columns: Columns) -> list[Any]:
    locked = _locked(rows, RUNNABLE)
    columns = columns | {"state": JobState.WAITING, "ended_at": None}
    if not issubclass(rows.model, ScheduledJob):  # the key of what ended is empty, and stays so
        _all(rows, locked).update(**columns)
        return locked
    columns["reason"] = ""
    standing = [job for job in locked if job.state in OPEN]
    _all(rows, standing).update(**columns)
    return standing + [
        job for job in locked if job.state not in OPEN and _takes_its_key(rows, job, columns)
    ]


def _takes_its_key(rows: QuerySet[Any], job: ScheduledJob, columns: Columns) -> bool:
    try:
        held = held_by(registry.event(job.event), job.key)
        with transaction.atomic(using=rows.db):
            _all(rows, [job]).update(**columns, key_held=held)
    except (UnknownEvent, IntegrityError):  # of another release, or another job has the key now
        return False
    return True


def _locked(rows: QuerySet[Any], states: Sequence[JobState]) -> list[Any]:
    """Those of *rows* that may be changed, until the transaction ends: a tick passes them over."""
    # By id: the rows of a project's own admin may be joined or counted, and then not be locked.
    pks = set(rows.order_by().values_list("pk", flat=True))
    return list(_by_pk(rows, pks).filter(state__in=states).order_by("pk").select_for_update())


def _all(rows: QuerySet[Any], jobs: Sequence[Any]) -> QuerySet[Any]:
    return _by_pk(rows, [job.pk for job in jobs])


def _by_pk(rows: QuerySet[Any], pks: Collection[Any]) -> QuerySet[Any]:
    found: QuerySet[Any] = rows.model._base_manager.using(rows.db)
    return found.filter(pk__in=pks)
