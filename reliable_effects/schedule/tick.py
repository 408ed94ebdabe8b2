"""
The sweep that emits the jobs whose time has come: event and end of the job in one transaction.

Safe with any number of them at once and killed anywhere: what one has locked the others pass over,
what did not commit is as it was, and the event's id is derived from the job's, so not even a restore
of one of both tables makes two of it. One bad job is set aside as BLOCKED, and looked at again each
minute; the others go on.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any

from django.db import connections, transaction
from django.dispatch import Signal

from .. import signals
from ..clock import DbNow, in_utc, read_clock
from ..conf import settings
from ..effects.event import Event
from ..effects.registry import registry
from ..outbox import outage
from ..outbox.heartbeat import Swept, Turn, take_turn
from ..outbox.passing import may_pass
from ..outbox.reconnect import mend
from ..outbox.sweeps import add
from .forget import forget_ended
from .states import JobReason, JobState
from .tables import Blocked, JobTable, Ready, tables
from .zones import RESOLVE_EVERY, resolve_anew, resolved

logger = logging.getLogger("reliable_effects")

TICK = "tick"

_BATCH = 100  # jobs in one transaction: some ten milliseconds of locks
_BOUND = 3.0  # seconds for all tables; the relay waits for it in the same thread
_RETRY_BLOCKED_EVERY = timedelta(minutes=1)

Place = tuple[datetime, Any]
_left_off: dict[tuple[str, str], Place] = {}  # where the last look at what is blocked was cut short


def register() -> None:
    """Let the sweeps' timer know of ours."""
    add(TICK, lambda: settings().tick_period, tick)


def tick(using: str, _turn: Turn | None = None) -> Swept:
    """One sweep over every table of jobs. One table's trouble does not stop the others."""
    swept = Swept()
    until = monotonic() + _BOUND
    found = tables(using)
    random.shuffle(found)  # where the time is not enough for all, none is always the last
    _each(using, found, swept, lambda table: emit_due(using, table, swept, until))
    chores: dict[str, tuple[timedelta, Callable[[JobTable], None]]] = {
        "blocked": (
            _RETRY_BLOCKED_EVERY,
            lambda table: retry_blocked(using, table, swept, until),
        ),
        "zones": (RESOLVE_EVERY, lambda table: resolve_anew(using, table, until)),
        "ended": (settings().prune_period, lambda table: forget_ended(using, table, until)),
    }
    for name, (period, work) in chores.items():
        if monotonic() < until and take_turn(using, f"{TICK}:{name}", period):
            _each(using, found, swept, work)
    return swept


def forget() -> None:
    """For tests that empty the tables."""
    _left_off.clear()


def _each(
    using: str, found: Sequence[JobTable], swept: Swept, work: Callable[[JobTable], None]
) -> None:
    for table in found:
        try:
            work(table)
        except Exception as error:  # noqa: BLE001  # whatever it is, the others' time has come
            outage.tell(f"could not sweep {table.label} on {using}; the others go on", error)
            _mend(using)
            swept.truncated = True


def _mend(using: str) -> None:
    """But for a test's transaction around all of it, which a savepoint has mended."""
    if not connections[using].in_atomic_block:
        mend(using)


def emit_due(using: str, table: JobTable, swept: Swept, until: float = float("inf")) -> None:
    """Emit what is due in *table*: up to `tick_limit` jobs, until *until* by the monotonic clock."""
    due = table.rows(using).filter(state=JobState.WAITING, at__lte=DbNow()).order_by("at")
    budget = settings().tick_limit
    while budget > 0 and monotonic() < until:
        limit = min(budget, _BATCH)
        seen = _carry_out(using, table, due, limit, swept)
        if len(seen) < limit:
            return
        budget -= len(seen)
    swept.truncated = True


def retry_blocked(using: str, table: JobTable, swept: Swept, until: float = float("inf")) -> None:
    """Try again what is blocked: a release that knows it may be here now, or its subject is back."""
    blocked = table.rows(using).filter(state=JobState.BLOCKED, at__lte=DbNow()).order_by("at", "pk")
    place = _left_off.pop((using, table.label), None)
    while monotonic() < until:
        following = blocked
        if place is not None:
            following = blocked.filter(at__gte=place[0]).exclude(at=place[0], pk__lte=place[1])
        seen = _carry_out(using, table, following, _BATCH, swept)
        if len(seen) < _BATCH:
            return
        place = (seen[-1].at, seen[-1].pk)
    if place is not None:
        _left_off[using, table.label] = place


def _carry_out(using: str, table: JobTable, rows: Any, limit: int, swept: Swept) -> Sequence[Any]:
    """The first *limit* of *rows* in one transaction; where that fails, each in one of its own."""
    jobs: list[Any] = []
    try:
        with transaction.atomic(using=using):
            jobs += rows.select_for_update(skip_locked=True)[:limit]
            done = _settle(using, table, jobs)
    except Exception as error:
        if may_pass(error):
            raise
        _mend(using)
        done = sum(_alone(using, table, job) for job in jobs)
        if not jobs:
            raise
    swept.seen += len(jobs)
    swept.done += done
    return jobs


def _alone(using: str, table: JobTable, job: Any) -> int:
    """One job by itself; what cannot be emitted is set aside, and said."""
    rows = table.standing(using, [job])
    try:
        with transaction.atomic(using=using):
            return _settle(using, table, list(rows.select_for_update(skip_locked=True)))
    except Exception as error:
        if may_pass(error):
            raise
        # Once with its traceback, and not each minute while it stays blocked.
        again = job.state == JobState.BLOCKED
        logger.log(
            logging.WARNING if again else logging.ERROR,
            "could not emit the job %s; the others go on: %r", table.name(job), error,
            exc_info=None if again else error,
        )  # fmt: skip
        _mend(using)
        with transaction.atomic(using=using):
            _block(using, table, [Blocked(job, JobReason.FAILED)])
        return 0


def _settle(using: str, table: JobTable, jobs: Sequence[Any]) -> int:
    """Emit, miss, move or block *jobs*, which are locked; how many were emitted."""
    if not jobs:
        return 0
    now = read_clock(using)
    in_time: list[Any] = []
    missed: list[Any] = []
    for job in jobs:
        at = resolved(job)
        late = table.late(job)
        if at > now:  # the zone's rules have changed, and it is later
            moved = {"at": at, "wall_clock": job.wall_clock, **table.waiting()}
            table.standing(using, [job]).update(**moved)
        elif late is not None and now - at > late and table.knows(job):
            missed.append(job)
        else:
            in_time.append(job)
    _end(using, table, missed, JobState.MISSED)
    for job in missed:
        _tell(using, signals.job_missed, table, job, late=now - in_utc(job.at))
    ready: dict[Event[Any, Any], list[Ready]] = {}
    blocked: list[Blocked] = []
    for found in table.prepare(using, in_time):
        if isinstance(found, Blocked):
            blocked.append(found)
        else:
            ready.setdefault(found.event, []).append(found)
    _block(using, table, blocked)
    for event, group in ready.items():
        _emit(using, event, group)
        _end(using, table, [one.job for one in group], JobState.DONE)
    return sum(map(len, ready.values()))


def _emit(using: str, event: Event[Any, Any], group: Sequence[Ready]) -> None:
    registry.writer.emit(
        event,
        registry.on(event),
        [(one.subject, one.payload) for one in group],
        once=[one.once for one in group],
        source="schedule",
        using=using,
    )


def _end(using: str, table: JobTable, jobs: Sequence[Any], state: JobState) -> None:
    if not jobs:
        return
    rows = table.standing(using, jobs)
    if rows.update(**table.ended(state)) != len(jobs):
        # They were locked; where there are no locks (SQLite) another process may have been first.
        raise RuntimeError(f"a job of {table.label} was ended by another; this batch is undone")


def _block(using: str, table: JobTable, blocked: Sequence[Blocked]) -> None:
    by_reason: dict[JobReason, list[Any]] = {}
    for one in blocked:
        stands = one.job.state == JobState.BLOCKED
        if not stands or getattr(one.job, "reason", one.reason) != one.reason:
            by_reason.setdefault(one.reason, []).append(one.job)
    for reason, jobs in by_reason.items():
        rows = table.standing(using, jobs)
        rows.update(**table.blocked(reason))
        for job in jobs:
            _tell(using, signals.job_blocked, table, job, reason=str(reason))


def _tell(using: str, signal: Signal, table: JobTable, job: Any, **facts: Any) -> None:
    """When it is committed: until then the row may be given back."""
    transaction.on_commit(
        partial(_told, using, signal, table, job, facts), using=using, robust=True
    )


def _told(using: str, signal: Signal, table: JobTable, job: Any, facts: dict[str, Any]) -> None:
    what = "missed" if signal is signals.job_missed else "blocked"
    said = " ".join(f"{name}={value}" for name, value in facts.items())
    # Old workers meet what only the next release knows, during each deploy.
    level = logging.WARNING if facts.get("reason") == JobReason.UNKNOWN_EVENT else logging.ERROR
    logger.log(level, "%s job %s due=%s %s", what, table.name(job), job.at.isoformat(), said)
    if signal.has_listeners(table.model):
        row = table.rows(using).filter(pk=job.pk).first()
        signal.send_robust(table.model, job=row, using=using, **facts)
