"""
What may not run now, because a person has paused its effect.

It spends no attempt. It is put off and no hint is under way to it, so that it leaves the line, and
the counts of what is due, to those that can run.
"""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists

from ..clock import DbNow, in_utc, read_clock
from ..controls.models import EffectControl
from ..effects.effect import Effect
from .claim_portable import unlocked
from .claimed import Seen
from .finish import jittered
from .models import Delivery, DeliveryQuerySet

# Until it is looked at again where nobody resumes it. Spread, for a whole table may be paused.
_SHORTEST, LONGEST = timedelta(hours=1), timedelta(hours=2)

# Asked with each hint it would double what reading a hint's rows costs (measured: 2.5 ms to 5).
_READ_EVERY = 2.0  # seconds; so long a pause may take to be heard of
_pauses: dict[
    str, tuple[float, dict[str, datetime | None]]
] = {}  # by database: read when, and what


def in_two(using: str, rows: Sequence[Seen]) -> tuple[list[Seen], list[Seen]]:
    """Those of *rows* that may run, and those that are paused; all are of effects known here."""
    paused = _paused(using) if rows else {}
    if not paused:
        return list(rows), []
    free = [row for row in rows if paused.keys().isdisjoint(_names_of(row))]
    return free, [row for row in rows if row not in free]


def put_off(using: str, rows: Sequence[Seen]) -> list[Seen]:
    """
    Out of the line until the pause is over, or until it is time to look again.

    Gives those that were resumed a moment ago: nobody else has a hint of them.
    """
    by_names: dict[tuple[str, ...], list[Seen]] = {}
    for row in rows:
        by_names.setdefault(_names_of(row), []).append(row)
    resumed = []
    for names, alike in by_names.items():
        paused = EffectControl.objects.using(using).paused().filter(effect__in=names)
        waiting = Delivery.objects.using(using)
        with transaction.atomic(using=using):
            # What somebody has locked changes anyway; to wait for it would keep others waiting.
            pks = unlocked(waiting, [row.id for row in alike])
            # Asked again in the UPDATE: resumed a moment ago, it would wait for nothing.
            mine = waiting.filter(
                Exists(paused), pk__in=pks, claim_token=None, look_at__isnull=False
            )
            done = mine.update(look_at=DbNow() + _rest(using, names), hints=0)
        if not done and not paused.exists():
            forget()
            resumed += alike
    return resumed


def held_back(using: str, queue: str, names: Collection[str]) -> DeliveryQuerySet:
    """What of *queue* is due, and was put off for a pause of the effects called *names*."""
    ahead = Delivery.objects.using(using).in_line(queue).filter(look_at__gt=DbNow(), hints=0)
    near = ahead.filter(look_at__lte=DbNow() + LONGEST)  # what is far away is not walked over
    return near.filter(due_at__lte=DbNow(), effect__in=names)


def names_of(effect: Effect[Any, Any]) -> tuple[str, ...]:
    """Rows, and pauses, carry the name of the release that wrote them."""
    return (effect.name, *effect.aliases)


def forget() -> None:
    """What was read of pauses; this process has just changed one, or a test emptied the table."""
    _pauses.clear()


def _names_of(row: Seen) -> tuple[str, ...]:
    assert row.effect is not None  # noqa: S101  # callers set unknown names apart
    return names_of(row.effect)


def _paused(using: str) -> dict[str, datetime | None]:
    """Until when each is paused, by name; None: until a person resumes it."""
    read_at, known = _pauses.get(using, (float("-inf"), {}))
    if time.monotonic() - read_at > _READ_EVERY:
        controls = EffectControl.objects.using(using).paused()
        known = dict(controls.values_list("effect", "paused_until"))
        _pauses[using] = (time.monotonic(), known)
    return known


def _rest(using: str, names: Iterable[str]) -> timedelta:
    spread = _SHORTEST.total_seconds(), LONGEST.total_seconds()
    rest = timedelta(seconds=random.uniform(*spread))  # noqa: S311  # jitter
    ends = [until for name, until in _paused(using).items() if name in set(names)]
    if not ends or None in ends:
        return rest
    last = max(in_utc(until) for until in ends if until is not None)
    return min(rest, last - read_clock(using) + jittered(timedelta(seconds=1)))
