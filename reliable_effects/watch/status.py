"""
How the outbox stands, in numbers that cost little however large its tables are.

The one reading of the facts behind effects_status, the health view, alerts and metrics. Each count
ends at `COUNT_AT_MOST`; each query walks an index from one end. Nothing is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.core.exceptions import ImproperlyConfigured
from django.db import Error
from django.db.models import Count, Min, Q, QuerySet

from ..clock import DbNow, read_clock
from ..conf import MOST_COUNTED, settings
from ..effects.registry import registry
from ..outbox import dispatch
from ..outbox.heartbeat import CLAIMS
from ..outbox.models import Delivery, Sweep
from ..outbox.relay import waiting_queues
from ..outbox.states import State
from ..outbox.sweeps import RELAY, periods
from . import debts, jobs, pauses
from .debts import Debts
from .jobs import Jobs
from .pauses import Paused

ALERTS = "alerts"  # the name of the sweep that looks for what is wrong

COUNT_AT_MOST = MOST_COUNTED
_SWEEP_ROWS = 1000  # a few for each queue
_PATIENCE = timedelta(minutes=1)  # with a sweep whose period is short
_HOUR = timedelta(hours=1)  # what runs daily is not missed for days
_TRUNCATED_TOO_OFTEN = 3  # runs running, and
_TRUNCATED_TOO_LONG = timedelta(minutes=5)  # what is cut short goes on soon: a busy minute is none
_HABIT = timedelta(days=7)  # that each run saw rows; one quiet night is no habit broken
_SILENCE = timedelta(hours=1)  # at least, and three periods: then it is no pause


@dataclass(kw_only=True)
class Queue:
    name: str
    due: int = 0
    oldest_due: timedelta | None = None
    retrying: int = 0
    later: int = 0
    running: int = 0
    last_claim: timedelta | None = None
    is_late: bool = False  # the oldest has been due for longer than anybody should wait
    is_consumed: bool = True  # False: work has been due for long, and nobody claimed anything


@dataclass(kw_only=True)
class SweepAge:
    name: str
    age: timedelta | None  # None: it never ran
    seen: int = 0
    done: int = 0
    truncated: bool = False
    truncated_runs: int = 0  # running
    truncated_for: timedelta | None = None
    silence: timedelta | None = (
        None  # sees nothing for so long, where each run always saw something
    )
    is_stale: bool = False
    is_cut_short_again: bool = False


@dataclass(kw_only=True)
class Database:
    """One database's share of the outbox; `problem` says why there is nothing to say."""

    alias: str
    problem: str = ""
    queues: list[Queue] = field(default_factory=list)
    lost_leases: int = 0  # running rows whose worker was not heard of in time
    uncertain: dict[str, int] = field(default_factory=dict)  # by effect; waiting for a person
    poisoned: dict[tuple[str, str], int] = field(default_factory=dict)  # by effect and reason
    oldest_poisoned: dict[str, timedelta] = field(default_factory=dict)  # by effect
    sweeps: list[SweepAge] = field(default_factory=list)
    debts: list[Debts] = field(default_factory=list)
    jobs: list[Jobs] = field(default_factory=list)
    paused: list[Paused] = field(default_factory=list)


def transport() -> str:
    """What carries hints in this process, or what is wrong with it."""
    try:
        configured = dispatch.is_configured()
    except ImproperlyConfigured as error:
        return f"broken: {error}"
    known = settings().transport
    if known == "auto":
        return "celery" if configured else "none"
    return known


def of(alias: str, *, late_after: timedelta | None = None) -> Database:
    """How *alias* stands now. A delivery that has been due for *late_after* is late."""
    try:
        return _read(alias, settings().alert_late_after if late_after is None else late_after)
    except Error as error:
        return Database(alias=alias, problem=told(error))


def can_be_read(alias: str) -> Database:
    """Nothing but the `problem`, where there is one: one small query."""
    try:
        Sweep.objects.using(alias).values_list("pk").first()
    except Error as error:
        return Database(alias=alias, problem=told(error))
    return Database(alias=alias)


def sweeps(alias: str, now: datetime) -> list[SweepAge]:
    """When each sweep last ran there: one small query."""
    return _ages(Sweep.objects.using(alias).in_bulk(list(_expected())), now)


def _ages(rows: Mapping[str, Sweep], now: datetime) -> list[SweepAge]:
    return [_sweep(name, period, rows.get(name), now) for name, period in _expected().items()]


def told(error: Error) -> str:
    """The first line of it."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def shown(count: int) -> str:
    return f"{count}+" if count >= COUNT_AT_MOST else str(count)


def _read(alias: str, late_after: timedelta) -> Database:
    now = read_clock(alias)
    rows = Delivery.objects.using(alias)
    known = Sweep.objects.using(alias).order_by("name")[:_SWEEP_ROWS]
    sweeps = {sweep.name: sweep for sweep in known}
    aside = rows.order_by("-pk")
    running = Counter(rows.running().values_list("queue", flat=True)[:COUNT_AT_MOST])
    uncertain = aside.uncertain().filter(look_at=None)
    poisoned, oldest = _poisoned(aside.poisoned(), now)
    names = {name.removeprefix(CLAIMS) for name in sweeps if name.startswith(CLAIMS)}
    names |= registry.queues() | set(running) | set(waiting_queues(alias))
    return Database(
        alias=alias,
        queues=[
            _queue(alias, name, now, sweeps, running[name], late_after=late_after)
            for name in sorted(names)
        ],
        lost_leases=rows.running().filter(lease_expires_at__lt=DbNow())[:COUNT_AT_MOST].count(),
        uncertain=dict(Counter(uncertain.values_list("effect", flat=True)[:COUNT_AT_MOST])),
        poisoned=poisoned,
        oldest_poisoned=oldest,
        debts=debts.of(alias, now),
        jobs=list(jobs.of(alias, now, COUNT_AT_MOST)),
        paused=pauses.of(alias, now, COUNT_AT_MOST),
        sweeps=_ages(sweeps, now),
    )


def _poisoned(
    pills: QuerySet[Delivery], now: datetime
) -> tuple[dict[tuple[str, str], int], dict[str, timedelta]]:
    """How many by effect and reason, the newest of them, and for how long the oldest has lain."""
    found = list(pills.values_list("effect", "reason", "finished_at")[:COUNT_AT_MOST])
    oldest: dict[str, timedelta] = {}
    for effect, _, finished_at in found:
        age = now - (finished_at or now)
        oldest[effect] = max(oldest.get(effect, age), age)
    return dict(Counter((effect, reason) for effect, reason, _ in found)), oldest


def _queue(
    alias: str,
    name: str,
    now: datetime,
    sweeps: dict[str, Sweep],
    running: int,
    *,
    late_after: timedelta,
) -> Queue:
    waiting = Delivery.objects.using(alias).in_line(name)
    due = Delivery.objects.using(alias).in_front(name)
    later = waiting.filter(due_at__gt=DbNow(), look_at__gt=DbNow())
    retrying = Count("pk", filter=Q(state=State.PENDING, attempts__gt=0))
    ready, away = (
        part[:COUNT_AT_MOST].aggregate(count=Count("pk"), oldest=Min("due_at"), retrying=retrying)
        for part in (due, later)
    )
    oldest = now - ready["oldest"] if ready["oldest"] else None
    claimed = sweeps.get(CLAIMS + name)
    last_claim = now - claimed.ran_at if claimed else None
    patience = settings().unconsumed_after
    return Queue(
        name=name,
        due=ready["count"],
        oldest_due=oldest,
        retrying=min(ready["retrying"] + away["retrying"], COUNT_AT_MOST),
        later=away["count"],
        running=running,
        last_claim=last_claim,
        is_late=oldest is not None and oldest > late_after,
        is_consumed=(
            oldest is None
            or oldest <= patience
            or (last_claim is not None and abs(last_claim) <= patience)
        ),
    )


def _expected() -> dict[str, timedelta]:
    # Without a transport there is nothing to relay: effects_worker looks for itself.
    without = {RELAY} if transport() == "none" else set()
    return {name: period for name, period in periods().items() if name not in without}


def _sweep(name: str, period: timedelta, row: Sweep | None, now: datetime) -> SweepAge:
    if row is None:
        return SweepAge(name=name, age=None, is_stale=True)
    age = now - row.ran_at
    return SweepAge(
        name=name,
        age=age,
        seen=row.seen,
        done=row.done,
        truncated=row.truncated,
        truncated_runs=row.truncated_runs,
        truncated_for=now - row.truncated_since if row.truncated_since else None,
        silence=_silence(row, period, now),
        # Also where it lies ahead, for the database's clock was put back and nobody swept since.
        is_stale=abs(age) > max(min(5 * period, period + _HOUR), _PATIENCE),
        is_cut_short_again=_is_cut_short_again(row, period, now),
    )


def _is_cut_short_again(row: Sweep, period: timedelta, now: datetime) -> bool:
    """It falls behind, or fails. What is cut short goes on soon, and a walk is long by design."""
    if row.truncated_since is None or row.truncated_runs < _TRUNCATED_TOO_OFTEN:
        return False
    return now - row.truncated_since >= max(_TRUNCATED_TOO_LONG, 3 * period)


def _silence(row: Sweep, period: timedelta, now: datetime) -> timedelta | None:
    if row.rows_since is None or row.empty_since is None or row.name == ALERTS:
        return None  # to see nothing is what alerts are there for
    silence = now - row.empty_since
    is_broken_habit = row.empty_since - row.rows_since >= _HABIT
    # After as long a silence, silence is the habit.
    is_news = max(3 * period, _SILENCE) <= silence < max(30 * period, _HABIT)
    return silence if is_broken_habit and is_news else None
