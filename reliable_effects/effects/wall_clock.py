"""A time on the clock of a wall somewhere: what people mean by "half past two in Berlin"."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

FIRST, LAST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
"""Instants between these are dates in every database, and in every zone that shows them."""


@dataclass(frozen=True, slots=True)
class WallClock:
    """
    `WallClock(datetime(2027, 3, 28, 2, 30), "Europe/Berlin")`: which instant that is, the zone says.

    Where the clocks are put forward over it, it is as much later (02:30 is shown as 03:30); where
    they are put back and show it twice, it is the first. If the zone's rules change before the day,
    the wall's time stays and the instant moves.

    Raises:
        TypeError: `wall` is no datetime, or `zone` is no string.
        ValueError: `wall` has a time zone of its own or is beyond the years 1970 to 9998, or there
            is no such zone.
    """

    wall: datetime
    zone: str

    def __post_init__(self) -> None:
        if not isinstance(self.wall, datetime):
            raise TypeError(f"WallClock: wall={self.wall!r}; give a datetime without a time zone.")
        if self.wall.tzinfo is not None:
            raise ValueError(
                f"WallClock: wall={self.wall!r} has a time zone of its own."
                " Leave tzinfo out, or give the aware datetime by itself: it is an instant."
            )
        if not isinstance(self.zone, str):
            raise TypeError(f"WallClock: zone={self.zone!r}; give a name like 'Europe/Berlin'.")
        # One way to write a time that is shown twice: the first is meant.
        object.__setattr__(self, "wall", self.wall.replace(fold=0))
        self.instant()

    def instant(self) -> datetime:
        """The instant in UTC, by the zone's rules as this process knows them."""
        try:
            zone = ZoneInfo(self.zone)
        # What zoneinfo raises: unknown; no path; a folder of zones ("Europe"); unreadable.
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(
                f"WallClock: zone={self.zone!r} is no time zone known here; write it like"
                " 'Europe/Berlin'. Where there is no zone at all, install the package tzdata."
            ) from error
        try:
            at = self.wall.replace(tzinfo=zone).astimezone(UTC)
        except OverflowError:
            at = None
        if at is None or not FIRST <= at < LAST:
            raise ValueError(
                f"WallClock: wall={self.wall!r} is too far away;"
                f" give a time from {FIRST.year} to {LAST.year - 1}."
            )
        return at

    def __str__(self) -> str:
        """As rows keep it: "2027-03-28T02:30:00 Europe/Berlin"."""
        return f"{self.wall.isoformat()} {self.zone}"

    @classmethod
    def read(cls, text: str) -> WallClock:
        """What `str` made of it. Raises ValueError where it is something else."""
        wall, _, zone = text.partition(" ")
        return cls(datetime.fromisoformat(wall), zone)
