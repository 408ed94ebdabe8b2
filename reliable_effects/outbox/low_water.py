"""
Where the last scan of a queue ended, so that the next need not pass over dead index entries.

A shortcut only: a row may be put in below it, so every half minute, and whenever a scan finds less
than it may take, the next one begins at the beginning. (Measured with 200,000 dead entries held by
an old snapshot: 22 ms a scan without it, 0.8 with.)
"""

from __future__ import annotations

from datetime import datetime
from time import monotonic

_FULL_SCAN_EVERY = 30.0  # seconds

_marks: dict[tuple[str, str], tuple[datetime, float]] = {}  # by database and queue; until when


def of(using: str, queue: str) -> datetime | None:
    """From where to scan; None: from the beginning."""
    mark, until = _marks.get((using, queue), (None, 0.0))
    return mark if monotonic() < until else None


def note(using: str, queue: str, reached: datetime | None) -> None:
    """A scan has *reached* so far; None where it has seen all there is."""
    if reached is None:
        _marks.pop((using, queue), None)
        return
    _, until = _marks.get((using, queue), (None, 0.0))
    now = monotonic()
    _marks[using, queue] = (reached, until if now < until else now + _FULL_SCAN_EVERY)


def forget() -> None:
    """For tests that empty the tables."""
    _marks.clear()
