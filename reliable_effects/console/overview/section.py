"""
One database's share of the overview: a dozen small queries, none of which counts deliveries.

What stands, as it was last seen, comes from the rows of the sweep `rollup`; the rest from tables
that are small by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import Error, connections, transaction
from django.db.models import Sum

from ...clock import read_clock
from ...reconcile.models import Coverage
from ...reconcile.sweeps import owed_effects
from ...watch import pauses, status
from ...watch.models import Alert
from . import history
from .charts import Chart, chart

COVERED = 7  # days
_ALERTS = 20  # told of
_OLD = timedelta(minutes=5)  # after that, figures are called old
_DEBTS = ("in_time", "late", "waiting", "poisoned", "uncertain", "given_up", "missing")


@dataclass(kw_only=True)
class Covered:
    """What one effect owed in the last days, and what came of it."""

    effect: str
    owed: int
    done: int
    late: int
    waiting: int
    aside: int  # poisoned or uncertain
    given_up: int
    missing: int  # found without a delivery

    @property
    def percent(self) -> str:
        """Rounded down: 100 % says that all of it is done."""
        return f"{int(1000 * self.done / self.owed) / 10:g} %" if self.owed else "-"


@dataclass(kw_only=True)
class Section:
    """How one database stands; `problem` says why there is nothing to say."""

    alias: str
    problem: str = ""
    now: datetime | None = None
    levels: history.Levels | None = None
    rates: history.Rates | None = None
    counted_to: datetime | None = None
    has_ever_run: bool = False
    charts: list[Chart] = field(default_factory=list)
    effects: list[history.Hour] = field(default_factory=list)
    sweeps: list[status.SweepAge] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    paused: list[pauses.Paused] = field(default_factory=list)
    covered: list[Covered] = field(default_factory=list)

    @property
    def is_unseen(self) -> bool:
        """Nobody has looked for long: what the figures say may be over."""
        return self.levels is None or self._is_old(self.levels.seen_at)

    @property
    def is_behind(self) -> bool:
        """Somebody looks, and has not counted up to now."""
        return self.counted_to is not None and self._is_old(self.counted_to)

    @property
    def is_empty(self) -> bool:
        """No effect was ever promised, as far as anybody has seen."""
        if self.has_ever_run:
            return False
        return self.levels is None or not any(
            map(self.levels.is_any, ("due", "running", "poisoned", "uncertain"))
        )

    @property
    def alert_count(self) -> str:
        return f"{len(self.alerts)}+" if len(self.alerts) == _ALERTS else str(len(self.alerts))

    def _is_old(self, at: datetime) -> bool:
        return self.now is not None and self.now - at > _OLD


def read(alias: str, may: Callable[[str], bool]) -> Section:
    """How *alias* stands, as far as its reader *may* see it, or why that cannot be said."""
    try:
        with _by_itself(alias):
            return _read(alias, may)
    except Error as error:
        return Section(alias=alias, problem=status.told(error))


def _by_itself(alias: str) -> AbstractContextManager[Any]:
    """Where the request has a transaction open, it outlives what fails here."""
    connection = connections[alias]
    return transaction.atomic(using=alias) if connection.in_atomic_block else nullcontext()


def _read(alias: str, may: Callable[[str], bool]) -> Section:
    now = read_clock(alias)
    told = history.history(alias, now)
    return Section(
        alias=alias,
        now=now,
        levels=history.levels(alias),
        rates=told.rates,
        counted_to=told.counted_to,
        has_ever_run=history.has_ever_run(alias),
        charts=_charts(told, now),
        effects=history.hardest(alias, now),
        sweeps=status.sweeps(alias, now) if may("view_sweep") else [],
        alerts=_alerts(alias) if may("view_alert") else [],
        paused=pauses.of(alias, now, 0),  # without counting what waits for each
        covered=_covered(alias, now) if may("view_coverage") else [],
    )


def _charts(told: history.History, now: datetime) -> list[Chart]:
    return [
        chart("succeeded", "Throughput", "Succeeded a minute", told.succeeded, now),
        chart("failed", "Failures", "Failed attempts a minute", told.failed, now),
        chart("due", "Backlog", "Deliveries due", told.due, now),
        chart(
            "oldest", "Oldest due", "How long the oldest has been due", told.oldest_due, now,
            is_span=True,
        ),
    ]  # fmt: skip


def _alerts(alias: str) -> list[Alert]:
    lasting = Alert.objects.using(alias).filter(resolved_at=None)
    return list(lasting.order_by("-level", "-first_seen_at")[:_ALERTS])


def _covered(alias: str, now: datetime) -> list[Covered]:
    """By effect, of the days since a week ago: by the index of effect and day."""
    names = {effect.identity: effect.name for effect in owed_effects(alias)}
    if not names:
        return []
    first = now.date() - timedelta(days=COVERED - 1)
    rows = Coverage.objects.using(alias).filter(effect__in=list(names)).since(first).order_by()
    sums = {f"n_{name}": Sum(name) for name in _DEBTS}
    grouped: Iterable[tuple[Any, ...]] = rows.values_list("effect").annotate(**sums)
    return [
        _cover(names[effect], dict(zip(_DEBTS, counts, strict=True)))
        for effect, *counts in sorted(grouped)
        if effect in names
    ]


def _cover(effect: str, counts: dict[str, int]) -> Covered:
    aside = counts["poisoned"] + counts["uncertain"]
    done = counts["in_time"] + counts["late"]
    return Covered(
        effect=effect,
        owed=done + counts["waiting"] + aside + counts["given_up"],
        done=done,
        late=counts["late"],
        waiting=counts["waiting"],
        aside=aside,
        given_up=counts["given_up"],
        missing=counts["missing"],
    )
