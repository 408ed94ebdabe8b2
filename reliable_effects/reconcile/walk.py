"""
One walk over what one effect is owed: it goes on where the last turn left off, and says what it saw.

In: an effect, a tier, and an instant at which the turn is over. Out: the row of `Walk`, and in the
tables whatever was missing. A turn that dies is taken up again after the last chunk it had noted;
what it did beyond that is found done.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from ..clock import DbNow, read_clock
from ..conf import settings
from ..effects.effect import Effect
from ..outbox.failures import presentable
from ..outbox.models import Delivery
from . import coverage
from .classify import Found, classify
from .findings import Finding
from .mend import give_events, promise_missing, reopen, ripeness
from .models import Tier, Walk, day_of
from .owing import Span, chunks, query_of

logger = logging.getLogger("reliable_effects")

_CANARIES = 10  # promised in the first turn of a walk; each further turn may promise twice as many
_NAMED = 5  # subjects in a log line


@dataclass(slots=True)
class Stretch:
    """What one turn saw, and did."""

    seen: int = 0
    done: int = 0  # promised or reopened
    truncated: bool = False


def due_walk(effect: Effect[Any, Any], using: str, tier: Tier) -> Walk | None:
    """The walk to begin or to go on with; None where the last whole one is recent enough."""
    rows = Walk.objects.using(using)
    walk, _ = rows.get_or_create(effect=effect.identity, tier=tier)
    # Before anything is asked: a query that ends its process must not be the first again.
    rows.filter(pk=walk.pk).update(looked_at=DbNow())
    if walk.is_under_way:
        return walk
    period = settings().reconcile_period if tier == Tier.RECENT else settings().reconcile_all_period
    # Half of it, since turns of that period do not come at the same second.
    rested = Q(began_at=None) | Q(began_at__lte=DbNow() - period / 2)
    rested |= Q(began_at__gt=DbNow() + period)  # the clock was put back
    fresh: dict[str, Any] = {
        "began_at": DbNow(), "is_under_way": True, "place": None, "turns": 0, "seen": 0,
        "promised": 0, "reopened": 0, "days": {}, "problem": "",
    }  # fmt: skip
    if not rows.filter(rested, pk=walk.pk, is_under_way=False).update(**fresh):
        return None
    walk.refresh_from_db()
    return walk


def go_on(effect: Effect[Any, Any], using: str, walk: Walk, until: float) -> Stretch:
    """Walk until *until*, a reading of `monotonic()`, or to the end."""
    stretch = Stretch()
    span = span_of(effect, using, Tier(walk.tier), walk.began_at)
    budget = _budget(effect, using, walk)
    is_ripe = ripeness(effect, using)
    for chunk in chunks(effect, using, span, walk.place):
        found = classify(effect, using, chunk)
        while found and not stretch.truncated:  # what could not be mended leaves of the budget
            within = _within(found, is_ripe, budget)
            mended = mend(effect, using, [each for each in within if is_ripe(each)])
            budget -= len(mended)
            found = found[len(within) :]
            _note(walk, within, mended, stretch)
            if not _save(walk, using):
                return stretch  # another has come to its end meanwhile
            stretch.truncated = (bool(found) and budget <= 0) or monotonic() > until
        if stretch.truncated:
            break
    _mine(walk, using).update(looked_at=DbNow(), turns=walk.turns + bool(stretch.done))
    if not stretch.truncated:
        _end(effect, using, walk, span)
    return stretch


def span_of(
    effect: Effect[Any, Any], using: str, tier: Tier, began_at: datetime | None = None
) -> Span:
    """How far a walk of that tier looks, that began at *began_at* (now)."""
    now = read_clock(using)
    grace = query_of(effect).grace
    if tier is Tier.ALL:
        return Span(until=now - grace)
    # What waits out its grace is looked at by a later walk, so a window shorter than it sees none.
    return Span(until=now - grace, begins=(began_at or now) - grace - settings().reconcile_window)


def mend(effect: Effect[Any, Any], using: str, ripe: Sequence[Found]) -> list[Found]:
    """Do what is to be done about *ripe*; what was done."""
    kinds: dict[Finding, list[Found]] = {}
    for found in ripe:
        kinds.setdefault(found.finding, []).append(found)
    promised = promise_missing(effect, using, kinds.get(Finding.UNACCOUNTED, []))
    coverage.note_missing(effect, using, promised)
    again = kinds.get(Finding.OWED_AGAIN, []) + kinds.get(Finding.CONTRADICTION, [])
    changed = give_events(effect, using, kinds.get(Finding.ORPHANED, []))
    reopened = reopen(effect, using, again)
    for what, which in (
        ("promised what nobody had", promised),
        ("made up lost events", changed),
        ("reopened what is still owed", reopened),
    ):
        if which:
            some = ", ".join(found.owing.pk for found in which[:_NAMED])
            logger.warning(
                "reconcile of %s %s: %d, among them %s", effect.name, what, len(which), some
            )
    return promised + changed + reopened


def fail(using: str, walk: Walk, error: BaseException) -> None:
    """It comes no further: what the query raised stays on the row, until the next walk begins."""
    problem = presentable(f"{type(error).__name__}: {error}")
    _mine(walk, using).update(is_under_way=False, looked_at=DbNow(), problem=problem)


def _within(found: list[Found], is_ripe: Callable[[Found], bool], budget: int) -> list[Found]:
    """As much of *found*, in its order, as holds no more to do than the budget allows."""
    for place, each in enumerate(found):
        if is_ripe(each):
            if budget <= 0:
                return found[:place]
            budget -= 1
    return found


def _budget(effect: Effect[Any, Any], using: str, walk: Walk) -> int:
    """How much may be promised now: partners and fresh work come first, after an outage too."""
    most = settings().reconcile_backlog
    backlog = Delivery.objects.using(using).in_front(effect.queue).values("pk")[:most].count()
    ramp: int = _CANARIES * 2 ** min(walk.turns, 20)
    return min(settings().reconcile_limit, ramp, most - backlog)


def _note(walk: Walk, within: Sequence[Found], mended: Sequence[Found], stretch: Stretch) -> None:
    walk.seen += len(within)
    stretch.seen += len(within)
    stretch.done += len(mended)
    new = sum(found.finding is Finding.UNACCOUNTED for found in mended)
    walk.promised += new
    walk.reopened += len(mended) - new
    days: dict[str, dict[str, int]] = walk.days
    kinds = Counter((day_of(found.owing.since), found.finding) for found in within)
    for (day, finding), count in kinds.items():
        of_day = days.setdefault(day.isoformat() if day else "", {})
        of_day[finding] = of_day.get(finding, 0) + count
    if within:
        walk.place = within[-1].owing.place


def _save(walk: Walk, using: str) -> bool:
    columns = ("place", "seen", "promised", "reopened", "days")
    return _mine(walk, using).update(**{name: getattr(walk, name) for name in columns}) == 1


def _end(effect: Effect[Any, Any], using: str, walk: Walk, span: Span) -> None:
    found: Counter[str] = Counter()
    for kinds in walk.days.values():
        found.update(kinds)
    with transaction.atomic(using=using):
        ended = {"is_under_way": False, "ended_at": DbNow(), "found": dict(found)}
        if _mine(walk, using).update(**ended) != 1:
            return
        coverage.note_standing(effect, using, walk.days, span.begins)
    told = ", ".join(f"{kind} {count}" for kind, count in found.most_common())
    level = logging.WARNING if found[Finding.CONTRADICTION] else logging.INFO
    logger.log(level, "reconciled %s, %s: %s", effect.name, walk.tier, told or "nothing is owed")


def _mine(walk: Walk, using: str) -> QuerySet[Walk]:
    """The row, while this walk goes on: another process may have come to its end, and begun anew."""
    rows = Walk.objects.using(using)
    return rows.filter(pk=walk.pk, began_at=walk.began_at, is_under_way=True)
