"""
Carry out in a test what is owed: reads rows, needs no broker and no worker.

The real claim, run and completion are used, one delivery at a time; only the clock that judges due
times and leases is moved, instead of waited for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from django.db import connections
from django.dispatch import Signal
from django.utils import timezone

from .. import signals
from ..clock import moved, read_clock
from ..controls.models import EffectControl
from ..effects.outcomes import Uncertain
from ..effects.registry import registry
from ..outbox import held_back, unknown
from ..outbox.deliver import deliver
from ..outbox.emit import in_open_transaction
from ..outbox.heartbeat import Swept, Turn
from ..outbox.instruments import surround_effects_with
from ..outbox.models import Attempt, Delivery
from ..outbox.rescue import rescue
from ..outbox.states import WAITING, Reason, State
from ..schedule.states import JobReason, JobState
from ..schedule.tables import JobTable, tables
from ..schedule.tick import emit_due, retry_blocked
from .aliases import usable_databases
from .autocommit import as_on_a_worker

MOST_RUNS = 10_000  # of one call; beyond it an effect surely owes itself for ever


@dataclass(frozen=True, slots=True)
class EffectRun:
    """
    One run of one effect, as `run_effects()` saw it.

    `state` is where its delivery stood afterwards: PENDING is a failure with attempts left, or a
    snooze. `exception` is what went wrong, None where nothing did.
    """

    effect: str
    delivery_id: int
    state: State
    exception: BaseException | None = None


class NotDone(AssertionError):
    """A delivery was not carried out, and no exception of its effect says why."""

    def __init__(self, effect: str, delivery_id: int, why: str) -> None:
        self.effect, self.delivery_id, self.why = effect, delivery_id, why
        super().__init__(f"{effect} (delivery {delivery_id}) was not done: {why}")


class JobBlocked(AssertionError):
    """The time of a scheduled job has come, and its event could not be emitted."""

    def __init__(self, job: str, why: str) -> None:
        self.job, self.why = job, why
        super().__init__(f"The job {job} is blocked: {why}.")


def run_effects(
    until: timedelta | datetime | None = None, *, record: bool = False
) -> list[EffectRun]:
    """
    Carry out every delivery that is due, in the order of their emits, and what these emit in turn.
    Scheduled jobs whose time has come are emitted first.

    `until`, a span from now or an aware datetime, goes on with what falls due by then: jobs,
    retries, snoozes, questions to `verify`, leases that end. The clock of the database is moved there, in
    steps, and back at the end; nothing sleeps, and `timezone.now()` stays as it is.

    What goes wrong in an effect is raised here, once the failure is written; the effects behind it
    have not run then. With `record=True` it is kept in the results, and the others run. Snooze,
    Skip, and Uncertain where `verify` will be asked, are answers and not raised.

    In a `TestCase` effects run as on a worker: `emit` needs its `atomic()`, on_commit hooks run
    (when the effect has ended), and a statement that fails does not break the test's transaction.

    Raises:
        NotDone: a delivery was set aside, or left, with no exception to raise.
        JobBlocked: a job's event could not be emitted; not with `record=True`.
        AssertionError: effects owe one another without end.
        RuntimeError: called inside the test's own `atomic()`, where nothing is committed yet.
        ValueError: `until` is a naive datetime.
    """
    databases = usable_databases()
    for using in databases:
        if in_open_transaction(connections[using]):
            raise RuntimeError(
                f"run_effects() was called in an open transaction on {using!r}: what was emitted"
                " there is not committed, so nobody owes it. Call it after the atomic() block."
            )
    span = _span(until, databases[0])
    runs: list[EffectRun] = []
    held_back.forget()  # another test may have paused something, and was rolled back since
    with ExitStack() as clocks, surround_effects_with(as_on_a_worker):
        for run in _owed(databases, span, clocks, record=record):
            runs.append(run)
            if run.exception is not None and not record:
                raise run.exception
            if len(runs) >= MOST_RUNS:
                raise AssertionError(
                    f"{run.effect} ran as number {MOST_RUNS} of one run_effects(), and there is no"
                    " end in sight. Does an effect emit what owes it again?"
                )
    return runs


def _span(until: timedelta | datetime | None, using: str) -> timedelta:
    if until is None:
        return timedelta(0)
    if isinstance(until, timedelta):
        return until
    if timezone.is_naive(until):
        raise ValueError(
            f"run_effects(until={until!r}) is in no time zone."
            " Give an aware datetime, timezone.now() + …, or a timedelta."
        )
    return until - read_clock(using)


def _owed(
    databases: Sequence[str], span: timedelta, clocks: ExitStack, *, record: bool
) -> Iterator[EffectRun]:
    """Run what is due, move the clock to what is due next, and so on for *span*."""
    left: set[tuple[str, int]] = set()  # deliveries that this code cannot run
    while True:
        for using in databases:
            for table in tables(using):
                _emit_jobs(using, table)
                if not record:
                    _raise_blocked(using, table)
        yield from _due_now(databases, left)
        step = min((s for using in databases for s in _steps(using, left)), default=None)
        if step is None or step > span:
            return
        span -= step
        clocks.enter_context(moved(step))
        for using in databases:
            # Not through the sweep's turn: it remembers when it was last taken, and that may lie
            # in what was the future a moment ago.
            rescue(using, Turn(since_last=None))


def _due_now(databases: Sequence[str], left: set[tuple[str, int]]) -> Iterator[EffectRun]:
    found = True
    while found:
        found = False
        for using in databases:
            due = Delivery.objects.using(using).due().order_by("pk")
            for pk in list(due.values_list("pk", flat=True)):
                run = carry_out(using, pk) if (using, pk) not in left else None
                if run is None:
                    continue
                found = True
                if isinstance(run.exception, NotDone) and run.state in WAITING:
                    left.add((using, pk))
                yield run


def _emit_jobs(using: str, table: JobTable) -> None:
    """All that is due, however much one tick would take of it."""
    cut_short = True
    while cut_short:
        swept = Swept()
        with as_on_a_worker():
            retry_blocked(using, table, swept)
            emit_due(using, table, swept)
        cut_short = swept.truncated


def _raise_blocked(using: str, table: JobTable) -> None:
    job = table.rows(using).filter(state=JobState.BLOCKED).order_by("at").first()
    if job is not None:
        why = JobReason(getattr(job, "reason", "") or JobReason.FAILED)
        raise JobBlocked(table.name(job), f"{why.label}; the log has more")


def _steps(using: str, left: set[tuple[str, int]]) -> Iterator[timedelta]:
    """How long until a delivery or a job falls due, and until a lease ends."""
    rows = Delivery.objects.using(using)
    here = [pk for alias, pk in left if alias == using]
    waiting = rows.filter(state__in=WAITING, look_at__isnull=False).exclude(pk__in=here)
    leases = rows.running().order_by("lease_expires_at")
    moments = (
        waiting.order_by("due_at").values_list("due_at", flat=True).first(),
        leases.values_list("lease_expires_at", flat=True).first(),
        *(_next_job(using, table) for table in tables(using)),
    )
    now = read_clock(using)
    for moment in moments:
        if moment is not None:
            # A millisecond more: SQLite's clock has no finer hand.
            yield max(moment - now, timedelta(0)) + timedelta(milliseconds=1)


def _next_job(using: str, table: JobTable) -> datetime | None:
    rows = table.rows(using).filter(state=JobState.WAITING).order_by("at")
    at: datetime | None = rows.values_list("at", flat=True).first()
    return at


def carry_out(using: str, delivery_id: int) -> EffectRun | None:
    """Deliver one, and tell how it went; None where an effect before it has settled it."""
    with _Witness() as witness:
        begun = deliver(using, [delivery_id])
    row = Delivery.objects.using(using).filter(pk=delivery_id).first()
    if row is None:
        return None
    state = State(row.state)
    exception = witness.exception
    if exception is not None:
        exception.add_note(
            f"Raised by the effect {row.effect} (delivery {row.pk}, now {state.label})."
            " run_effects(record=True) keeps it in the results instead."
        )
    elif witness.gave_up:
        exception = NotDone(row.effect, row.pk, _why(using, row))
    elif unknown.SINCE in (row.notes or {}):
        exception = NotDone(row.effect, row.pk, "no effect or payload like it is declared here")
    elif not begun:
        if state not in WAITING:
            return None
        exception = NotDone(row.effect, row.pk, _why_not_begun(using, row))
    return EffectRun(row.effect, row.pk, state, exception)


def _why_not_begun(using: str, row: Delivery) -> str:
    names = registry.names_like(row.effect)
    pause = EffectControl.objects.using(using).paused().filter(effect__in=names).first()
    if pause is None:
        return "it is due, and could not be claimed"
    return f"its effect is paused by {pause.by}: {pause.why}"


def _why(using: str, row: Delivery) -> str:
    attempts = Attempt.objects.using(using).filter(delivery_id=row.pk).order_by("-pk")
    message = attempts.values_list("message", flat=True).first()
    state = State(row.state).label
    if row.reason:
        state += f", {Reason(row.reason).label}"
    return f"{state}; {message}" if message else state


class _Witness:
    """Listens to the signals of one delivery."""

    def __init__(self) -> None:
        self.exception: BaseException | None = None
        self.gave_up = False

    def __enter__(self) -> Self:
        for signal in self._heard():
            signal.connect(self._hear, weak=False)
        return self

    def __exit__(self, *_: object) -> None:
        for signal in self._heard():
            signal.disconnect(self._hear)

    @staticmethod
    def _heard() -> tuple[Signal, ...]:
        return signals.attempt_failed, signals.delivery_poisoned, signals.delivery_uncertain

    def _hear(
        self,
        signal: Signal,
        exception: BaseException | None,
        waits_for_a_person: bool = True,
        **_: Any,
    ) -> None:
        if signal is signals.delivery_uncertain and not waits_for_a_person:
            # "I do not know" is an answer while somebody can still be asked; a bug in `verify`,
            # or a timeout, is not.
            self.exception = None if isinstance(exception, Uncertain) else exception
            return
        self.exception = exception
        self.gave_up = signal is not signals.attempt_failed
