"""When a job's time comes: what callers may give, checked, and as the row keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from ..conf import LONGEST_SPAN
from ..effects.wall_clock import FIRST, LAST, WallClock
from ..exceptions import BadSchedule


@dataclass(frozen=True, slots=True)
class Moment:
    """The instant, and the wall's clock that says so where one does."""

    at: datetime
    wall_clock: str = ""


def moment(name: str, at: Any) -> Moment:
    """
    *at* as a row keeps it; *name* is what messages call the job.

    Raises:
        BadSchedule: it is no time, in no time zone, or too far away.
    """
    if isinstance(at, WallClock):
        return Moment(at.instant(), str(at))
    if not isinstance(at, datetime):
        raise BadSchedule(
            name,
            "at",
            f"is {at!r}. Give an aware datetime, or WallClock(datetime(…), 'Area/City').",
        )
    if timezone.is_naive(at):
        wall = repr(at).removeprefix("datetime.")
        raise BadSchedule(
            name,
            "at",
            f"is {wall}, which is in no time zone. Write at=WallClock({wall},"
            f" {timezone.get_default_timezone_name()!r}) for the time on a wall there, or"
            f" at={wall[:-1]}, tzinfo=UTC) for an instant.",
        )
    try:
        instant = at.astimezone(UTC)
    except OverflowError:
        instant = LAST
    if not FIRST <= instant < LAST:
        raise BadSchedule(
            name, "at", f"is {at!r}; give a time from {FIRST.year} to {LAST.year - 1}."
        )
    return Moment(instant)


def says(wall_clock: str, at: datetime) -> bool:
    """Whether the clock that a row keeps shows *at*, by the rules that this process knows."""
    try:
        return bool(wall_clock) and WallClock.read(wall_clock).instant() == at
    except ValueError:
        return False


def checked_late(name: str, late: Any) -> timedelta | None:
    """
    How late a job may still run; None is however late.

    Raises:
        BadSchedule: it is no span, not longer than zero, or longer than ten years.
    """
    if late is None:
        return None
    if not isinstance(late, timedelta):
        raise BadSchedule(name, "late", f"is {late!r}. Give a timedelta(…), or None: however late.")
    if not timedelta(0) < late <= LONGEST_SPAN:
        raise BadSchedule(
            name,
            "late",
            f"is {late!r}. Give more than zero and at most {LONGEST_SPAN.days} days,"
            " or None: however late.",
        )
    return late
