"""
Owed against done, by effect and day: small rows, counted as things happen and never by COUNT(*).

What succeeded is counted by a sweep that follows `finished_at`, once each: the counts and the place
it has come to are written in one transaction. What stands is what the last walk saw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from time import monotonic
from typing import Any

from django.db import transaction
from django.db.models import F

from ..clock import DbNow, in_utc
from ..effects.effect import Effect
from ..effects.registry import registry
from ..outbox.heartbeat import Swept, Turn
from ..outbox.models import Delivery, OutboxEvent
from ..outbox.states import ENDED_WELL, Notes, State, noted
from .classify import Found
from .findings import PAST_THE_GRACE
from .models import Coverage, Tier, Walk, day_of
from .owing import query_of

_BATCH = 2000  # rows in one transaction
_BOUND = 1.0  # seconds a sweep
_SETTLED = timedelta(seconds=60)  # what ended later may not be committed yet, by an `atomic` effect

Key = tuple[str, date]


def note_missing(effect: Effect[Any, Any], using: str, promised: Sequence[Found]) -> None:
    """So many debts had no delivery, by the day since which they are owed."""
    days = Counter(day_of(found.owing.since) for found in promised)
    _add(using, {(effect.identity, day): {"missing": n} for day, n in days.items() if day})


def note_standing(
    effect: Effect[Any, Any],
    using: str,
    days: Mapping[str, Mapping[str, int]],
    begins: datetime | None,
) -> None:
    """What a whole walk saw takes the place of what stood, for the days that it saw as a whole."""
    rows = Coverage.objects.using(using).filter(effect=effect.identity)
    first = begins.date() + timedelta(days=1) if begins is not None else None
    whole = rows.filter(day__gte=first) if first is not None else rows
    columns = sorted(set(PAST_THE_GRACE.values()))
    with transaction.atomic(using=using):
        # Day by day, as `follow` goes: in the order of the table the two might deadlock.
        list(rows.select_for_update().order_by("day").values_list("pk"))
        whole.update(**dict.fromkeys(columns, 0))
        for day, kinds in days.items():
            if not day or (first is not None and date.fromisoformat(day) < first):
                continue
            counts: Counter[str] = Counter()
            for kind, count in kinds.items():
                if kind in PAST_THE_GRACE:
                    counts[PAST_THE_GRACE[kind]] += count  # type: ignore[index]  # by its value
            if counts:
                rows.update_or_create(
                    effect=effect.identity, day=date.fromisoformat(day), defaults=counts
                )


def follow(using: str, _turn: Turn) -> Swept:
    """The sweep: count what has succeeded since the last one."""
    swept = Swept()
    bound = monotonic() + _BOUND
    watched = {
        name: effect
        for name in registry.effect_names()
        if (effect := registry.effect(name)).owed_query is not None
    }
    if not watched:
        return swept
    while monotonic() < bound:
        taken = _take(using, watched)
        if taken is None:
            swept.truncated = True
            return swept
        swept.seen += taken
        if taken < _BATCH:
            return swept
    swept.truncated = True
    return swept


def _take(using: str, watched: Mapping[str, Effect[Any, Any]]) -> int | None:
    """Count one batch, and move on; how many rows were looked at. None: another sweep counts."""
    bookmarks = Walk.objects.using(using).filter(effect="", tier=Tier.DONE)
    if not bookmarks.exists():  # by itself: an INSERT that finds it there leaves a lock on MariaDB
        Walk.objects.using(using).get_or_create(effect="", tier=Tier.DONE)
    with transaction.atomic(using=using):
        # Two sweeps at once count nothing twice; and none waits, for the other may be frozen.
        walk = bookmarks.select_for_update(skip_locked=True).first()
        if walk is None:
            return None
        rows = Delivery.objects.using(using).filter(
            state__in=ENDED_WELL, finished_at__lte=DbNow() - _SETTLED
        )
        last = walk.place
        if last:
            rows = rows.filter(finished_at__gte=last["finished_at"]).exclude(
                finished_at=last["finished_at"], pk__lte=last["pk"]
            )
        found = rows.order_by("finished_at", "pk").values_list(
            "finished_at", "pk", "effect", "state", "event_id", "notes"
        )[:_BATCH]
        # And once more: SQLite compares instants as text, and may find two of one differ.
        batch = [
            row for row in found if not last or _place_of(row) > (last["finished_at"], last["pk"])
        ]
        if not batch:
            return 0
        done = [
            row
            for row in batch
            # What was reopened has succeeded before, and was counted then.
            if row[2] in watched and row[3] == State.SUCCEEDED and not noted(row[5], Notes.REOPENED)
        ]
        _add(using, _counted(using, watched, done))
        walk.place = dict(zip(("finished_at", "pk"), _place_of(batch[-1]), strict=True))
        walk.seen += len(batch)
        walk.save(using=using, update_fields=["place", "seen"])
    return len(found)


def _place_of(row: tuple[Any, ...]) -> tuple[str, int]:
    return in_utc(row[0]).isoformat(timespec="microseconds"), row[1]


def _counted(
    using: str, watched: Mapping[str, Effect[Any, Any]], done: Sequence[tuple[Any, ...]]
) -> dict[Key, dict[str, int]]:
    events = OutboxEvent.objects.using(using).filter(pk__in={row[4] for row in done})
    emitted = {
        pk: (at, source) for pk, at, source in events.values_list("pk", "emitted_at", "source")
    }
    counts: dict[Key, dict[str, int]] = {}
    for finished_at, _, name, _, event_id, _ in done:
        effect = watched[name]
        since, source = emitted.get(event_id, (None, ""))
        if since is None:
            since, column = finished_at, "unexpected"
        else:
            grace = query_of(effect).grace
            in_time = source != "reconcile" and finished_at - since <= grace
            column = "in_time" if in_time else "late"
        of_day = counts.setdefault((effect.identity, in_utc(since).date()), {})
        of_day[column] = of_day.get(column, 0) + 1
    return counts


def _add(using: str, counts: Mapping[Key, Mapping[str, int]]) -> None:
    rows = Coverage.objects.using(using)
    for (effect, day), columns in sorted(counts.items()):
        row, made = rows.get_or_create(effect=effect, day=day, defaults=columns)
        if not made:
            rows.filter(pk=row.pk).update(**{name: F(name) + n for name, n in columns.items()})
