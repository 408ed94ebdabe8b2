"""
How effects stand on one database: what is paused, what waits for it, how often each fails.

A few queries, however many effects there are, and each reads so far and no further.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from django.db import DatabaseError

from ...clock import read_clock
from ...conf import settings
from ...controls.models import EffectControl
from ...effects.registry import registry
from ...outbox.held_back import LONGEST
from ...outbox.models import Delivery
from ...watch import failing

_PAUSES = 500  # rows, aliases included
_LOOKED_AT = 5_000  # deliveries of a queue, from where what was put off begins
_QUEUES = 20  # with something paused; of the others nothing is counted


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    since: datetime
    until: datetime | None  # None: until a person resumes it
    by: str
    why: str


@dataclass(kw_only=True, slots=True)
class Standing:
    """By the name that this release has for an effect; by the row's own where it has none."""

    using: str
    is_away: bool = False
    pauses: dict[str, Pause] = field(default_factory=dict)
    waiting: Counter[str] = field(default_factory=Counter)
    cut_short: set[str] = field(default_factory=set)  # effects of which more may wait
    runs: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    since: datetime | None = None  # of runs and failures


def everywhere() -> list[Standing]:
    """On each database that is swept; one that is away hides none of the others."""
    return [_standing(using) for using in settings().databases]


def current(name: str) -> str:
    """What this release calls the effect that rows call *name*."""
    known = registry.find_effect(name)
    return known.name if known else name


def _standing(using: str) -> Standing:
    found = Standing(using=using)
    try:
        found.pauses = _pauses(using)
        _count_waiting(found)
        lately = failing.rates(using)
    except DatabaseError:
        return Standing(using=using, is_away=True)
    found.since = lately.since
    found.runs, found.failures = _by_current(lately.runs), _by_current(lately.failures)
    return found


def _pauses(using: str) -> dict[str, Pause]:
    rows = EffectControl.objects.using(using).paused().order_by("effect")[:_PAUSES]
    return {
        current(row.effect): Pause(
            since=row.paused_at, until=row.paused_until, by=row.by, why=row.why
        )
        for row in rows
        if row.paused_at is not None
    }


def _count_waiting(found: Standing) -> None:
    """
    What is due, and was put off, of each paused effect.

    Not by effect: with a million of another one in front, that would read them all for each.
    """
    by_queue: dict[str, set[str]] = {}
    for name in found.pauses:
        if (effect := registry.find_effect(name)) is not None:
            by_queue.setdefault(effect.queue, set()).add(name)
    if not by_queue:
        return
    now = read_clock(found.using)
    for queue in sorted(by_queue)[:_QUEUES]:
        line = Delivery.objects.using(found.using).in_line(queue)
        ahead = line.filter(look_at__gt=now, look_at__lte=now + LONGEST)
        rows = list(ahead.values_list("effect", "due_at", "hints")[:_LOOKED_AT])
        held = (current(name) for name, due_at, hints in rows if due_at <= now and not hints)
        counted = Counter(held)
        for name in by_queue[queue]:
            found.waiting[name] = counted[name]
        if len(rows) == _LOOKED_AT:
            found.cut_short |= by_queue[queue]
    for queue in sorted(by_queue)[_QUEUES:]:
        found.cut_short |= by_queue[queue]


def _by_current(counts: Counter[str]) -> Counter[str]:
    added: Counter[str] = Counter()
    for name, count in counts.items():
        added[current(name)] += count
    return added
