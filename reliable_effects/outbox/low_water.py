"""
Where the last scan of a queue ended, so that the next need not pass over dead index entries.

An old snapshot keeps them for as long as it is open (measured with 200,000 of them: 22 ms a scan from
the beginning, 0.8 from the mark). A shortcut only: a row may be put in below it, by a transaction that
was long. So scans begin at the beginning again: at the latest after half a minute while there is more
than a scan may take; else soon, where that takes a moment, and where it is dear as often as makes it
a twentieth of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

_FULL_SCAN_EVERY = 30.0  # seconds
_CHEAP = 0.005  # seconds a scan from the beginning; below that nobody needs a mark
_REST = 20  # times what it took, after one that was dear


@dataclass(frozen=True, slots=True)
class _Mark:
    reached: datetime
    until: float
    cost: float  # seconds that the last scan from the beginning took


_marks: dict[tuple[str, str], _Mark] = {}  # by database and queue
_queues: dict[Hashable, tuple[list[str], float]] = {}  # what was found, and until when it will do


def of(using: str, queue: str) -> datetime | None:
    """From where to scan; None: from the beginning."""
    mark = _marks.get((using, queue))
    return mark.reached if mark is not None and monotonic() < mark.until else None


def note(
    using: str, queue: str, last: datetime | None, *, is_all: bool, low: datetime | None,
    seconds: float,
) -> None:  # fmt: skip
    """A scan from *low* took *seconds*, and *last* was the last that it found; *is_all*: of all."""
    now, before = monotonic(), _marks.get((using, queue))
    begun_at = before if low is not None else None
    cost = begun_at.cost if begun_at else seconds
    reached = last or (before.reached if before else None)
    if reached is None or (is_all and cost < _CHEAP):
        _marks.pop((using, queue), None)
        return
    until = begun_at.until if begun_at else now + _FULL_SCAN_EVERY
    if is_all:
        until = min(until, now + _REST * cost)
    _marks[using, queue] = _Mark(reached, until, cost)


def queues(of_whom: Hashable, ask: Callable[[], list[str]]) -> list[str]:
    """What *ask* finds, which passes over all that is dead in each queue; or what it found lately."""
    known, until = _queues.get(of_whom, ([], 0.0))
    began = monotonic()
    if began < until:
        return known
    found = ask()
    cost = monotonic() - began
    if cost < _CHEAP:
        _queues.pop(of_whom, None)
        return found
    # Where nothing waits now something may in a moment, and most likely where it was before.
    _queues[of_whom] = (found or known, monotonic() + _REST * cost)
    return found


def forget() -> None:
    """Begin at the beginning: what is put in front is to be seen at once."""
    _marks.clear()
    _queues.clear()
