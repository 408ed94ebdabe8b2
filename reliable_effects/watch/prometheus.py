"""
Metrics for Prometheus: `RELIABLE_EFFECTS = {"INSTRUMENTS": ["prometheus"]}`.

Counters and histograms are of what this process does, in prometheus_client's default registry, so
that whoever serves that (django-prometheus, say) serves them. Gauges are read from the database
when they are asked for: at most every quarter of a minute, and a scrape waits for it two seconds.

Labels are names that the project declares (effects, events, queues) and words of ours.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connections
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from .. import signals
from ..conf import settings
from ..effects.effect import Effect
from ..effects.event import Event
from ..outbox import instruments, tell
from ..outbox.claim import Claimed
from ..outbox.states import Notes, Reason
from . import status
from .looking import GIVEN_UP

logger = logging.getLogger("reliable_effects")

_LAGS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 21600)
_RUNS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)  # seconds

EMITTED = Counter("reliable_effects_emitted", "Events that were committed.", ["event"])
PROMISED = Counter("reliable_effects_promised", "Deliveries that were promised.", ["effect"])
DELIVERED = Counter(
    "reliable_effects_delivered",
    "Deliveries that came to an end, or to where nobody knows: succeeded, skipped, poisoned,"
    " uncertain.",
    ["effect", "outcome"],
)
FAILED = Counter(
    "reliable_effects_attempts_failed", "Attempts that failed, the last included.", ["effect"]
)
POISONED = Counter(
    "reliable_effects_poisoned", "Deliveries that were set aside.", ["effect", "reason"]
)
REDRIVEN = Counter("reliable_effects_redriven", "Deliveries that a person redrove.", ["effect"])
EMIT_TO_START = Histogram(
    "reliable_effects_emit_to_start_seconds",
    "From the emit, in its transaction, to the first attempt.",
    ["queue"],
    buckets=_LAGS,
)
DUE_TO_START = Histogram(
    "reliable_effects_due_to_start_seconds",
    "From when it was due to the attempt, retries and snoozes included.",
    ["queue"],
    buckets=_LAGS,
)
RUN = Histogram(
    "reliable_effects_run_seconds",
    "What one call of an effect took, however it ended.",
    ["effect"],
    buckets=_RUNS,
)


def start() -> None:
    """Measure in this process from now on. Twice is once."""
    instruments.instrument(_measured)
    tell.overhear(signals.delivery_succeeded, _succeeded)
    for signal, receiver in _RECEIVERS:
        signal.connect(receiver, dispatch_uid=receiver)
    if _STANDING not in _registered:
        REGISTRY.register(_STANDING)
        _registered.append(_STANDING)


def stop() -> None:
    """As if it had never been started; what was counted stays."""
    instruments.take_out(_measured)
    tell.stop_overhearing(signals.delivery_succeeded, _succeeded)
    for signal, receiver in _RECEIVERS:
        signal.disconnect(receiver, dispatch_uid=receiver)
    while _registered:
        REGISTRY.unregister(_registered.pop())


def everything() -> CollectorRegistry:
    """
    What to serve: the default registry, or in prometheus_client's multiprocess mode (Celery's
    prefork pool, Gunicorn) the sum over all processes, and the gauges.
    """
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # theirs
    registry.register(_STANDING)
    return registry


# What happens here


def _measured(claimed: Claimed) -> AbstractContextManager[None]:
    return nullcontext() if claimed.verifying else _measured_run(claimed)


@contextmanager
def _measured_run(claimed: Claimed) -> Iterator[None]:
    try:
        _note_lags(claimed)
    except Exception:  # a full disk in multiprocess mode; the effect has nothing to do with it
        logger.exception("could not measure how late a delivery was")
    begun = time.monotonic()
    try:
        yield
    finally:
        try:
            RUN.labels(claimed.effect.name).observe(time.monotonic() - begun)
        except Exception:
            logger.exception("could not measure how long an effect took")


def _note_lags(claimed: Claimed) -> None:
    if claimed.due_at is not None:
        late = (claimed.claimed_at - claimed.due_at).total_seconds()
        DUE_TO_START.labels(claimed.queue).observe(max(late, 0.0))
    is_first = claimed.attempt == 1 and not {Notes.ROUND, Notes.INTERRUPTED} & claimed.notes.keys()
    if is_first and claimed.event is not None:
        since = (claimed.claimed_at - claimed.event.emitted_at).total_seconds()
        EMIT_TO_START.labels(claimed.queue).observe(max(since, 0.0))


def _emitted(
    sender: Event[Any, Any], event_ids: list[Any], promised: dict[str, int], source: str, **_: Any
) -> None:
    if source != "promise":  # behind a promise stands no event that anybody declared
        EMITTED.labels(sender.name).inc(len(event_ids))
    for effect, count in promised.items():
        PROMISED.labels(effect).inc(count)


def _succeeded(effect: Effect[Any, Any] | None, _: dict[str, Any]) -> None:
    DELIVERED.labels(_name(effect), "succeeded").inc()


def _skipped(sender: Effect[Any, Any] | None, **_: Any) -> None:
    DELIVERED.labels(_name(sender), "skipped").inc()


def _failed(sender: Effect[Any, Any] | None, **_: Any) -> None:
    FAILED.labels(_name(sender)).inc()


def _poisoned(sender: Effect[Any, Any] | None, reason: str, **_: Any) -> None:
    DELIVERED.labels(_name(sender), "poisoned").inc()
    POISONED.labels(_name(sender), reason).inc()
    if reason in (Reason.ATTEMPTS_SPENT, Reason.TIMED_OUT):
        FAILED.labels(_name(sender)).inc()


def _uncertain(sender: Effect[Any, Any] | None, **_: Any) -> None:
    DELIVERED.labels(_name(sender), "uncertain").inc()


def _redriven(sender: Effect[Any, Any] | None, **_: Any) -> None:
    REDRIVEN.labels(_name(sender)).inc()


def _name(effect: Effect[Any, Any] | None) -> str:
    return effect.name if effect is not None else "unknown"


_RECEIVERS = (
    (signals.event_emitted, _emitted),
    (signals.delivery_skipped, _skipped),
    (signals.attempt_failed, _failed),
    (signals.delivery_poisoned, _poisoned),
    (signals.delivery_uncertain, _uncertain),
    (signals.delivery_redriven, _redriven),
)


# How it stands


@dataclass(frozen=True, slots=True)
class _Facts:
    databases: list[status.Database]
    read_at: float  # by the monotonic clock


class Standing(Collector):
    """
    Gauges of the backlog, as `effects_status` counts it: each count ends at 10,000.

    They are read in a thread of its own, one at a time: a database that does not answer costs a
    scrape `patience` seconds, and then shows by `reliable_effects_read_age_seconds`. A connection
    may never answer again although the database does: after `give_up_after` another one asks.
    """

    def __init__(
        self, *, fresh_for: float = 15.0, patience: float = 2.0, give_up_after: float = GIVEN_UP
    ) -> None:
        self._fresh_for, self._patience, self._give_up_after = fresh_for, patience, give_up_after
        self._facts: _Facts | None = None
        self._reader: threading.Thread | None = None
        self._began_at = 0.0  # when the reader did, by the monotonic clock

    def describe(self) -> list[GaugeMetricFamily]:
        """Their names alone: to register them asks no database."""
        return list(_families().values())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        self._read()
        families = _families()
        facts = self._facts
        if facts is not None:
            families["read_age_seconds"].add_metric([], time.monotonic() - facts.read_at)
            for database in facts.databases:
                _fill(families, database)
        yield from families.values()

    def _read(self) -> None:
        facts = self._facts
        if facts is not None and time.monotonic() - facts.read_at < self._fresh_for:
            return
        reader = self._reader
        is_late = time.monotonic() - self._began_at > self._give_up_after
        if reader is None or is_late or not reader.is_alive():  # nor is it in the child of a fork
            self._began_at = time.monotonic()
            reader = threading.Thread(target=self._ask, name="reliable_effects gauges", daemon=True)
            self._reader = reader
            reader.start()
        reader.join(self._patience)

    def _ask(self) -> None:
        try:
            databases = [status.of(alias) for alias in settings().databases]
            if self._reader is threading.current_thread():  # else another has read since
                self._facts = _Facts(databases, time.monotonic())
        except Exception:
            logger.exception("the gauges could not be read; the last ones stand")
        finally:
            connections.close_all()  # this thread's own


_STANDING = Standing()
_registered: list[Collector] = []

_PREFIX = "reliable_effects_"
_GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "read_age_seconds": ("How old the other gauges are.", ()),
    "database_up": ("1 where the tables could be read.", ("database",)),
    "queue_due": ("Deliveries that are due.", ("database", "queue")),
    "queue_later": ("Deliveries that wait for their time.", ("database", "queue")),
    "queue_retrying": ("Deliveries that wait, and have failed.", ("database", "queue")),
    "queue_running": ("Deliveries that a worker has claimed.", ("database", "queue")),
    "queue_oldest_due_seconds": (
        "For how long the one that waits longest has been due.",
        ("database", "queue"),
    ),
    "queue_consumed": ("0 where work is due and nobody claims it.", ("database", "queue")),
    "set_aside": (
        "Deliveries that wait for a person: poisoned, with their reason, or uncertain.",
        ("database", "effect", "state", "reason"),
    ),
    "jobs": (
        "Scheduled jobs that did not become events in time: late, blocked, or missed.",
        ("database", "table", "state"),
    ),
    "owed": (
        "What the last whole walk over an owed query found.",
        ("database", "effect", "walk", "found"),
    ),
    "owed_walk_age_seconds": (
        "Since when that walk has ended; Inf: there was none.",
        ("database", "effect", "walk"),
    ),
    "lost_leases": ("Running deliveries of which nothing was heard in time.", ("database",)),
    "sweep_age_seconds": ("Since when a sweep has not run; Inf: never.", ("database", "sweep")),
    "sweep_stale": ("1 where a sweep has stopped.", ("database", "sweep")),
    "sweep_truncated": ("1 where a sweep was cut short the last time.", ("database", "sweep")),
}


def _families() -> dict[str, GaugeMetricFamily]:
    return {
        name: GaugeMetricFamily(_PREFIX + name, about, labels=labels)
        for name, (about, labels) in _GAUGES.items()
    }


def _fill(families: dict[str, GaugeMetricFamily], database: status.Database) -> None:
    for name, value, *labels in _readings(database):
        families[name].add_metric([database.alias, *labels], value)


def _readings(database: status.Database) -> Iterator[tuple[str, float, *tuple[str, ...]]]:
    """Name, value, and the labels behind the database's."""
    yield "database_up", not database.problem
    if database.problem:
        return
    yield "lost_leases", database.lost_leases
    yield from _of_deliveries(database)
    yield from _of_debts_and_jobs(database)
    for sweep in database.sweeps:
        yield "sweep_age_seconds", _seconds(sweep.age), sweep.name
        yield "sweep_stale", sweep.is_stale, sweep.name
        yield "sweep_truncated", sweep.truncated, sweep.name


def _of_deliveries(database: status.Database) -> Iterator[tuple[str, float, *tuple[str, ...]]]:
    for queue in database.queues:
        oldest = queue.oldest_due.total_seconds() if queue.oldest_due is not None else 0.0
        yield "queue_due", queue.due, queue.name
        yield "queue_later", queue.later, queue.name
        yield "queue_retrying", queue.retrying, queue.name
        yield "queue_running", queue.running, queue.name
        yield "queue_oldest_due_seconds", oldest, queue.name
        yield "queue_consumed", queue.is_consumed, queue.name
    for (effect, reason), count in database.poisoned.items():
        yield "set_aside", count, effect, "poisoned", reason
    for effect, count in database.uncertain.items():
        yield "set_aside", count, effect, "uncertain", ""


def _of_debts_and_jobs(database: status.Database) -> Iterator[tuple[str, float, *tuple[str, ...]]]:
    for debts in database.debts:
        yield "owed_walk_age_seconds", _seconds(debts.age), debts.effect, debts.tier
        for found, count in debts.found.items():
            yield "owed", count, debts.effect, debts.tier, found
    for jobs in database.jobs:
        yield "jobs", jobs.late, jobs.table, "late"
        yield "jobs", jobs.blocked, jobs.table, "blocked"
        yield "jobs", jobs.missed, jobs.table, "missed"


def _seconds(age: timedelta | None) -> float:
    """Inf where it never was."""
    return age.total_seconds() if age is not None else float("inf")
