"""
Which effects fail more than they used to, by samples from the ends of two indexes: no big count.

Only runs that did not end well leave an `Attempt`, and a delivery that ended well counts its runs.
So the last minutes are failures and good ends since then, and what is usual comes from deliveries
that ended well before. A partner that is away altogether ends nothing well and so never becomes
usual; one that fails every other run for a day does.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..clock import read_clock
from ..conf import settings
from ..outbox.models import Attempt, Delivery
from ..outbox.states import ENDED_WELL

_ATTEMPTS = 2000  # rows, at most; where there are more, the window is shorter
_GOOD_ENDS = 5000  # the same
_BEFORE = 2000  # deliveries that say what is usual

_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
_FAILED = (
    Attempt.Outcome.FAILED,
    Attempt.Outcome.TIMED_OUT,
    Attempt.Outcome.LOST,
    Attempt.Outcome.REFUSED,
    Attempt.Outcome.UNCERTAIN,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Failing:
    effect: str
    failures: int
    runs: int
    usual: float  # share of runs that failed before

    @property
    def share(self) -> float:
        return self.failures / self.runs


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """Runs that ended since an instant, by the names that rows have of effects."""

    since: datetime  # later than the window's begin where more has ended than is read
    failures: Counter[str]
    runs: Counter[str]  # failures included


def effects(using: str) -> list[Failing]:
    """Each effect that failed in the last window, with what was usual before."""
    lately = rates(using)
    if not lately.failures:
        return []
    usual = _usual(using, lately.since)
    return [
        Failing(effect=effect, failures=n, runs=lately.runs[effect], usual=usual.get(effect, 0.0))
        for effect, n in sorted(lately.failures.items())
    ]


def rates(using: str) -> Rates:
    """How often each effect ran and failed in the last window, `ALERT_FAILURE_WINDOW`."""
    since = read_clock(using) - settings().alert_failure_window
    attempts = _attempts(using)
    ends = _good_ends(using, since)
    since = max(since, _cut_at(attempts, _ATTEMPTS), _cut_at(ends, _GOOD_ENDS))
    failed = Counter(effect for effect, at, how in attempts if at >= since and how in _FAILED)
    ended = Counter(effect for effect, at, _ in ends if at >= since)
    return Rates(since=since, failures=failed, runs=failed + ended)


_Ends = list[tuple[str, datetime, Any]]  # effect, when, how; newest first


def _attempts(using: str) -> _Ends:
    # By the primary key: attempts are only ever added, and there is no index by time.
    newest = Attempt.objects.using(using).order_by("-pk")
    return list(newest.values_list("delivery__effect", "ended_at", "outcome")[:_ATTEMPTS])


def _good_ends(using: str, since: datetime) -> _Ends:
    ended = Delivery.objects.using(using).filter(state__in=ENDED_WELL, finished_at__gte=since)
    newest = ended.order_by("-finished_at").values_list("effect", "finished_at", "state")
    return [(effect, at, state) for effect, at, state in newest[:_GOOD_ENDS] if at]


def _cut_at(ends: _Ends, limit: int) -> datetime:
    """Before this instant nothing was read."""
    return ends[-1][1] if len(ends) >= limit else _LONG_AGO


def _usual(using: str, before: datetime) -> dict[str, float]:
    ended = Delivery.objects.using(using).filter(state__in=ENDED_WELL, finished_at__lt=before)
    sample = ended.order_by("-finished_at").values_list("effect", "attempts")[:_BEFORE]
    runs: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for effect, attempts in sample:
        runs[effect] += attempts
        failed[effect] += max(attempts - 1, 0)
    return {effect: failed[effect] / n for effect, n in runs.items() if n}
