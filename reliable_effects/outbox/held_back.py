"""
What may not run now, because a person has paused its effect.

It spends no attempt. It is put off for longer than the relay ever waits for a hint, so that it
leaves the line, and the counts of what is late, to those that can run.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef

from ..clock import DbNow, in_utc, read_clock
from ..controls.models import EffectControl
from .claim import Seen
from .finish import LONGEST_GRACE, jittered
from .models import Delivery, DeliveryQuerySet

# Until it is looked at again where nobody resumes it. Spread, for a whole table may be paused.
_SHORTEST, LONGEST = LONGEST_GRACE * 1.5, LONGEST_GRACE * 2

# Asked with each hint it would double what reading a hint's rows costs (measured: 2.5 ms to 5).
_READ_EVERY = 2.0  # seconds; so long a pause may take to be heard of
_pauses: dict[
    str, tuple[float, dict[str, datetime | None]]
] = {}  # by database: read when, and what


def in_two(using: str, rows: Sequence[Seen]) -> tuple[list[Seen], list[Seen]]:
    """Those of *rows* that may run, and those that are paused."""
    paused = _paused(using) if rows else {}
    free = [row for row in rows if row.effect_name not in paused]
    return free, [row for row in rows if row.effect_name in paused]


def put_off(using: str, rows: Sequence[Seen]) -> None:
    """Out of the line until the pause is over, or until it is time to look again."""
    paused = EffectControl.objects.using(using).paused()
    for name in {row.effect_name for row in rows}:
        waiting = Delivery.objects.using(using).filter(
            # Asked again in the UPDATE: resumed a moment ago, it would wait for nothing.
            Exists(paused.filter(effect=OuterRef("effect"))),
            pk__in=[row.id for row in rows if row.effect_name == name],
            claim_token=None,
            look_at__isnull=False,
        )
        waiting.update(look_at=DbNow() + _rest(using, _paused(using).get(name)), hints=0)


def held_back(using: str) -> DeliveryQuerySet:
    """What is due, and was put off for a pause."""
    rows: DeliveryQuerySet = Delivery.objects.using(using).filter(due_at__lte=DbNow())
    return rows.filter(look_at__gt=DbNow() + LONGEST_GRACE, look_at__lte=DbNow() + LONGEST)


def forget() -> None:
    """What was read of pauses; this process has just changed one, or a test emptied the table."""
    _pauses.clear()


def _paused(using: str) -> dict[str, datetime | None]:
    """Until when each is paused, by name; None: until a person resumes it."""
    read_at, known = _pauses.get(using, (float("-inf"), {}))
    if time.monotonic() - read_at > _READ_EVERY:
        controls = EffectControl.objects.using(using).paused()
        known = dict(controls.values_list("effect", "paused_until"))
        _pauses[using] = (time.monotonic(), known)
    return known


def _rest(using: str, until: datetime | None) -> timedelta:
    spread = _SHORTEST.total_seconds(), LONGEST.total_seconds()
    rest = timedelta(seconds=random.uniform(*spread))  # noqa: S311  # jitter
    if until is None:
        return rest
    return min(rest, in_utc(until) - read_clock(using) + jittered(timedelta(seconds=1)))
