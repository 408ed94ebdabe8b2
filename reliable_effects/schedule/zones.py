"""
A zone's rules may change before the day: jobs of a wall's clock are resolved anew.

No change moves an instant by more than a day, so it is enough to ask a little before: what is far
away is as it was written until then, whatever the rules said meanwhile.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from ..clock import DbNow, in_utc
from ..effects.wall_clock import WallClock
from .states import JobState
from .tables import JobTable

logger = logging.getLogger("reliable_effects")

RESOLVE_EVERY = timedelta(hours=1)
_AHEAD = timedelta(hours=26)  # the widest zones are 26 h apart
_BATCH = 1000

_left_off: dict[tuple[str, str], tuple[datetime, Any]] = {}


def resolved(job: Any) -> datetime:
    """When *job*'s time comes, by the rules that this process knows."""
    at = in_utc(job.at)
    if not job.wall_clock:
        return at
    try:
        instant = WallClock.read(job.wall_clock).instant()
    except ValueError:  # this machine does not know the zone, or somebody edited it
        return at
    # Further than any change of rules moves it: `at` was written, past us, without its wall.
    return instant if abs(instant - at) <= _AHEAD else at


def resolve_anew(using: str, table: JobTable, until: float = float("inf")) -> None:
    """Move what waits for a wall's clock in the next day, where its instant is another by now."""
    rows = table.rows(using).filter(
        state=JobState.WAITING, at__gt=DbNow(), at__lte=DbNow() + _AHEAD
    )
    place = _left_off.pop((using, table.label), None)
    while monotonic() < until:
        following = rows
        if place is not None:
            following = rows.filter(at__gte=place[0]).exclude(at=place[0], pk__lte=place[1])
        # Not by wall_clock: that would look through all between two of them for a full batch.
        batch = list(following.only("at", "wall_clock").order_by("at", "pk")[:_BATCH])
        for job in batch:
            at = resolved(job)
            if at == in_utc(job.at):
                continue
            # Guarded by what was read: it may have been rescheduled, or its time has come.
            waiting = rows.filter(pk=job.pk, wall_clock=job.wall_clock, at=job.at)
            if waiting.update(at=at, wall_clock=job.wall_clock):
                logger.info("job %s on %s moved from %s to %s: the rules of its zone have changed",
                            job.pk, using, job.at, at)  # fmt: skip
        if len(batch) < _BATCH:
            return
        place = (batch[-1].at, batch[-1].pk)
    if place is not None:
        _left_off[using, table.label] = place


def forget() -> None:
    """For tests that empty the tables."""
    _left_off.clear()
