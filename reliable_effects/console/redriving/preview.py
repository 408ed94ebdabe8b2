"""
What a redrive would come to, before anything changes: the questions of a run are asked, read-only.

Each delivery is read as a run reads it: its payload decoded, its subject loaded, its owed query and
`still_needed` asked. No effect is run, and no `verify`: that one asks a partner.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import zip_longest
from time import monotonic

from django.db import Error

from ...clock import read_clock
from ...controls.models import EffectControl
from ...outbox.failures import describe, presentable
from ...outbox.models import Delivery, DeliveryQuerySet, OutboxEvent
from ...outbox.reconnect import mend
from .guards import LEFT_ALONE, Foreseen, Guards
from .reading import each_alone, reading_only
from .selection import Selection

AT_MOST = 200  # deliveries that are asked about
PATIENCE = timedelta(seconds=3)  # in all; what is not asked by then is not asked
COUNTED = 100_000  # further nobody counts

_SAID = 300  # characters of a guard's own words
_SAYINGS = 5  # of them


@dataclass(frozen=True, slots=True)
class Row:
    """Deliveries of one effect that would come to the same."""

    effect: str
    foreseen: Foreseen
    count: int


@dataclass(slots=True)
class Preview:
    counted: int | None  # of the selection; None: not within the time
    asked: int = 0
    out_of_time: bool = False
    rows: list[Row] = field(default_factory=list)
    sayings: list[str] = field(default_factory=list)  # of guards that failed, fit to be shown
    tells_errors: bool = True  # else a saying names the type alone

    @property
    def is_sample(self) -> bool:
        return self.counted is None or self.asked < self.counted

    @property
    def size(self) -> str:
        """How many are chosen, as far as anybody counts."""
        if self.counted is None:
            return f"more than could be counted in {PATIENCE.total_seconds():.0f} s"
        return f"{COUNTED:,}+" if self.counted > COUNTED else f"{self.counted:,}"

    @property
    def changes_nothing(self) -> bool:
        """Surely: each was asked about, and each is left alone."""
        return not self.is_sample and all(row.foreseen in LEFT_ALONE for row in self.rows)


def preview(selection: Selection, using: str, *, tells_errors: bool = True) -> Preview:
    """
    Ask about the oldest and the newest of *selection*, at most AT_MOST and for PATIENCE.

    tells_errors: what exceptions say may be shown; it may hold what payloads and rows hold.
    """
    until = monotonic() + PATIENCE.total_seconds()
    # What was ticked and is left alone is said, too; a filter names states that can be redriven.
    rows = selection.chosen(using) if selection.ids else selection.rows(using)
    told = Preview(counted=None, tells_errors=tells_errors)
    alike: Counter[tuple[str, Foreseen]] = Counter()
    try:
        with reading_only(using, PATIENCE):
            told.counted = _count(rows)
            controls = EffectControl.objects.using(using).paused()
            paused = frozenset(controls.values_list("effect", flat=True))
            guards = Guards(using=using, now=read_clock(using), paused=paused)
            sample = _sample(rows, told.counted)
            events = OutboxEvent.objects.using(using).in_bulk([row.event_id for row in sample])
            for delivery in sample:
                if told.asked and monotonic() > until:
                    told.out_of_time = True
                    break
                told.asked += 1
                event = events.get(delivery.event_id)
                alike[delivery.effect, _asked(guards, delivery, event, told)] += 1
    except Error as error:
        # The database's own bound on a query, most of all. What was found until then is shown.
        told.out_of_time = True
        _say(told, "", error)
        mend(using)
    told.rows = [Row(*kind, count) for kind, count in alike.items()]
    told.rows.sort(key=lambda row: (list(Foreseen).index(row.foreseen), row.effect))
    return told


def _count(rows: DeliveryQuerySet) -> int | None:
    try:
        with each_alone(rows.db):
            return rows.order_by().values("pk")[: COUNTED + 1].count()
    except Error:
        return None


def _sample(rows: DeliveryQuerySet, counted: int | None) -> list[Delivery]:
    """From both ends: what fails since today is not what has lain there for a year."""
    if counted is not None and counted <= AT_MOST:
        return list(rows.order_by("pk")[:AT_MOST])
    half = AT_MOST // 2
    ends = [list(rows.order_by(order)[:half]) for order in ("pk", "-pk")]
    by_turns = [row for pair in zip_longest(*ends) for row in pair]  # should the time end first
    return list({row.pk: row for row in by_turns if row is not None}.values())


def _asked(
    guards: Guards, delivery: Delivery, event: OutboxEvent | None, told: Preview
) -> Foreseen:
    try:
        with each_alone(guards.using):
            return guards.foresee(delivery, event)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # guards and upcasters are the project's
        _say(told, delivery.effect, error)
        return Foreseen.FAILED


def _say(told: Preview, effect: str, error: BaseException) -> None:
    said = f": {describe(error)}" if told.tells_errors else ""
    words = presentable(f"{type(error).__name__}{said}")[:_SAID]
    saying = f"{effect}: {words}" if effect else words
    if saying not in told.sayings and len(told.sayings) < _SAYINGS:
        told.sayings.append(saying)
