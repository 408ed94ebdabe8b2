"""How it stands: gauges of the backlog, read from the database when they are asked for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.db import connections
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ...conf import settings
from .. import status
from ..looking import GIVEN_UP

logger = logging.getLogger("reliable_effects")


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
