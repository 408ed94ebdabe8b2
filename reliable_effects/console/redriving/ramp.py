"""
How fast: a canary first, then twice as many at once while it goes well, and a halt when it does not.

Pure: what stands goes in, what is to be done comes out. `pace` is how many may be under way at
once; `rate` is how many are released in a minute at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

LEAST_KNOWN = 5  # outcomes, before anybody is halted by them: two of two is no share
_SAVED_UP = timedelta(seconds=10)  # two turns of the sweep


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Of an operation. `known` and `failing` are outcomes of this round."""

    canary: int
    rate: int  # in a minute
    halt_percent: int
    pace: int  # 0: nothing was released yet, since it began or was resumed
    unreleased: int
    under_way: int  # released lately, and nothing is known
    overdue: int  # released a while ago, and still nothing is known
    known: int
    failing: int

    @property
    def is_canary(self) -> bool:
        return self.pace <= self.canary

    @property
    def goes_well(self) -> bool:
        return self.failing * 100 < self.halt_percent * self.known


@dataclass(frozen=True, slots=True)
class Halt:
    """So many fail that no more are released."""


@dataclass(frozen=True, slots=True)
class Wait:
    why: str


@dataclass(frozen=True, slots=True)
class Release:
    """At most so many now. `grown`: the round went well, and a new one begins at this pace."""

    at_most: int
    pace: int
    grown: bool = False


def decide(now: Standing) -> Halt | Wait | Release:
    """What is next, the rate left aside."""
    if not now.unreleased:
        return Wait("all are released")  # nothing is left that a halt could spare
    if now.known >= LEAST_KNOWN and not now.goes_well:
        return Halt()
    if now.pace == 0:
        return Release(now.canary, now.canary)
    if now.is_canary:
        return _after_canary(now)
    if now.known >= now.pace and now.goes_well:
        pace = _doubled(now)
        return Release(_room(now, pace), pace, grown=True)
    room = _room(now, now.pace)
    return Release(room, now.pace) if room else Wait(_stuck(now) or "those under way end first")


def _after_canary(now: Standing) -> Wait | Release:
    """All of it ends first; what does not within the bound is no longer waited for."""
    if now.under_way:
        return Wait("the canary ends first")
    if not now.known:
        # Nothing at all came of it: paused, or no worker. More would only wait beside it.
        return Wait(_stuck(now)) if now.overdue else Release(now.canary, now.canary)
    if not now.goes_well:  # too few to halt by: as many again
        return Release(now.canary, now.canary)
    pace = _doubled(now)
    return Release(_room(now, pace), pace, grown=True)


def _doubled(now: Standing) -> int:
    """Up to a minute's worth; what is more would only lie in the queue."""
    return min(2 * now.pace, max(now.rate, 2 * now.canary))


def _room(now: Standing, pace: int) -> int:
    return max(pace - now.under_way - now.overdue, 0)


def _stuck(now: Standing) -> str:
    if not now.overdue:
        return ""
    return (
        f"{now.overdue} that were released have not ended for long: is the effect paused, or does"
        " no worker consume its queue?"
    )


def allowance(rate: int, paid_until: datetime | None, now: datetime) -> int:
    """How many *rate* allows at *now*, where what was released is paid for up to *paid_until*."""
    if paid_until is None:
        return rate
    paid_until = _sane(paid_until, rate, now)
    span = min(now - paid_until, _saved_up(rate))
    return max(int(span / timedelta(minutes=1) * rate), 0)


def paid(count: int, rate: int, paid_until: datetime | None, now: datetime) -> datetime:
    """Up to when the rate is paid for after *count* more; ahead of *now* where they came at once."""
    begins = max(_sane(paid_until or now, rate, now), now - _saved_up(rate))
    return begins + timedelta(minutes=1) * count / rate


def _sane(paid_until: datetime, rate: int, now: datetime) -> datetime:
    """Never ahead by more than the first minute with what is saved up: else the clock was put back."""
    furthest = now + timedelta(minutes=1) + _saved_up(rate)
    return now - _saved_up(rate) if paid_until > furthest else paid_until


def _saved_up(rate: int) -> timedelta:
    """Of the rate, at most: nothing comes in a flood after a pause, and no turn is lost to one."""
    return _SAVED_UP + timedelta(minutes=1) / rate


def takes(count: int, rate: int) -> timedelta:
    """How long *count* take at *rate*, at the least."""
    return timedelta(minutes=ceil(count / rate))
