"""
Count what happened since the last time, slice by slice: a range of one index and small rows out.

A slice and the place that it leads to are written in one transaction, so that a kill at any line
neither loses nor doubles one. A slice lies within one bucket, and has an end in rows too: what is
more than that is cut smaller, never skipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from django.db import transaction
from django.db.models import Count, QuerySet

from ...clock import in_utc, read_clock
from ...conf import settings
from ...outbox.heartbeat import Swept
from ...outbox.models import Attempt, Delivery, OutboxEvent
from ...outbox.states import ENDED_WELL, State
from .models import SPAN, EffectRollup, RollupCursor, bucket_of

SETTLED = timedelta(minutes=1)  # what is younger may not be committed yet: rows carry the
# instant of their statement. Effects and retries commit within seconds; see EffectRollup.

_TICK = timedelta(microseconds=1)  # the finest that any database here keeps
_ROWS = 200  # of one statement that writes
_MOST_ATTEMPTS = 2000  # of a slice; they come by their ids, so they are put into buckets here

Counts = dict[tuple[datetime, str], Counter[str]]  # (bucket, effect) → column → how many


def begin(using: str) -> None:
    """Where nobody has counted yet, it begins now: what lies before would be told as if it were all."""
    cursors = RollupCursor.objects.using(using)
    if cursors.exists():  # by itself: an INSERT that finds it there leaves a lock on MariaDB
        return
    settled = read_clock(using) - SETTLED
    places = {"emitted_to": settled, "ended_to": settled, "failed_to": settled}
    newest = Attempt.objects.using(using).order_by("-pk").values_list("pk", flat=True).first()
    first = {"began_at": settled, "attempt": newest or 0, **places}
    cursors.get_or_create(pk=RollupCursor.THE_ONE, defaults=first)


def count(using: str, bound: float, swept: Swept) -> None:
    """Go on to a minute ago, for *bound* seconds at most; what is left, `swept.truncated` says."""
    until = monotonic() + bound
    behind = [_take_ended, _take_emitted, _take_attempts]
    while behind:
        for take in tuple(behind):  # in turn, so that none waits until another has caught up
            with transaction.atomic(using=using):
                cursor = locked(using)
                if cursor is None:
                    swept.truncated = True
                    return
                is_there = take(using, cursor, read_clock(using) - SETTLED, swept)
                cursor.save(using=using)
            if is_there:
                behind.remove(take)
        if behind and monotonic() > until:
            swept.truncated = True
            return


def locked(using: str) -> RollupCursor | None:
    """
    The cursor, for the caller's transaction alone. None where somebody else has it.

    Another sweep does the same work, so nobody waits for it; and it may be frozen while it does.
    """
    cursors = RollupCursor.objects.using(using).filter(pk=RollupCursor.THE_ONE)
    return cursors.select_for_update(skip_locked=True).first()


# By their instants: what was emitted, and what ended well


@dataclass(frozen=True, slots=True)
class _Timed:
    """Deliveries by an instant that has an index of its own, be it their event's."""

    rows: Callable[[str], QuerySet[Any]]  # that have the instant, in whose order they are read
    instant: str  # its column
    most: int  # rows of a slice
    place: str  # how far they are counted: a column of the cursor
    deliveries: Callable[[str], QuerySet[Delivery]]
    path: str  # from a delivery to the instant
    columns: Mapping[int, str]  # what a delivery counts as, by its state


_ENDED = _Timed(
    rows=lambda using: Delivery.objects.using(using).filter(state__in=ENDED_WELL),
    instant="finished_at",
    most=20_000,
    place="ended_to",
    deliveries=lambda using: Delivery.objects.using(using).filter(state__in=ENDED_WELL),
    path="finished_at",
    columns={State.SUCCEEDED: "succeeded", State.SKIPPED: "skipped"},  # a cancelled one is neither
)
_EMITTED = _Timed(
    rows=lambda using: OutboxEvent.objects.using(using).all(),
    instant="emitted_at",
    most=2000,  # each may have many deliveries
    place="emitted_to",
    deliveries=lambda using: Delivery.objects.using(using).all(),
    path="event__emitted_at",
    columns=dict.fromkeys(State, "emitted"),
)


def _take_ended(using: str, cursor: RollupCursor, settled: datetime, swept: Swept) -> bool:
    return _take(using, _ENDED, cursor, settled, swept)


def _take_emitted(using: str, cursor: RollupCursor, settled: datetime, swept: Swept) -> bool:
    return _take(using, _EMITTED, cursor, settled, swept)


def _take(
    using: str, source: _Timed, cursor: RollupCursor, settled: datetime, swept: Swept
) -> bool:
    """Count the next slice of *source*; whether it has come to *settled*."""
    start = _sane(getattr(cursor, source.place), settled)
    if start > settled:
        return True
    instants = _between(source.rows(using), source.instant, start, settled)
    instants = instants.order_by(source.instant).values_list(source.instant, flat=True)
    first = instants.first()
    if first is None:
        setattr(cursor, source.place, settled)
        return True
    start = in_utc(first)
    end = min(bucket_of(start) + SPAN, settled)
    too_many = _between(instants, source.instant, start, end)[source.most : source.most + 1]
    for at in too_many:
        # What has one instant is of one statement: counted at once, be it as much as it may.
        end = max(in_utc(at), start + _TICK)
    deliveries = _between(source.deliveries(using), source.path, start, end)
    counts: Counts = {}
    grouped = deliveries.order_by().values_list("effect", "state").annotate(n=Count("pk"))
    for effect, state, n in grouped:
        swept.seen += n
        if state in source.columns:
            columns = counts.setdefault((bucket_of(start), effect), Counter())
            columns[source.columns[state]] += n
    _add(using, counts)
    setattr(cursor, source.place, end)
    return end >= settled


def _between(rows: QuerySet[Any], path: str, start: datetime, end: datetime) -> QuerySet[Any]:
    return rows.filter(**{f"{path}__gte": start, f"{path}__lt": end})


def _sane(place: datetime, settled: datetime) -> datetime:
    """
    Where to go on: not before what is kept anyway.

    A place that lies ahead says that the database's clock was put back. A few minutes are waited
    for, since those were counted already; from further ahead it is taken back.
    """
    if place > settled + SPAN:
        return settled
    return max(in_utc(place), settled - settings().rollup_retention)


# By their ids: what went wrong

_Outcome = Attempt.Outcome
_FAILED = (_Outcome.FAILED, _Outcome.TIMED_OUT, _Outcome.LOST, _Outcome.REFUSED)


def _take_attempts(using: str, cursor: RollupCursor, settled: datetime, swept: Swept) -> bool:
    """
    Attempts that did not end well; they have no index by time, and come in the order of their ids.

    An attempt poisoned its delivery where it is the last one of a delivery that is poisoned when it
    is counted. So what is redriven within a minute is not counted as poisoned, nor what no attempt
    poisoned: a name that nobody knew, and what succeeded and was still owed.
    """
    rows = Attempt.objects.using(using).order_by("pk")
    newest = rows.values_list("pk", flat=True).last() or 0
    # Ids begin anew where somebody has emptied the table.
    cursor.attempt = min(cursor.attempt, newest)
    found = rows.filter(pk__gt=cursor.attempt).values_list(
        "pk", "ended_at", "outcome", "number",
        "delivery__effect", "delivery__state", "delivery__attempts",
    )[:_MOST_ATTEMPTS]  # fmt: skip
    counts: Counts = {}
    read = 0
    cut = None
    for pk, ended_at, outcome, number, effect, state, attempts in found:
        if in_utc(ended_at) >= settled:
            cut = in_utc(ended_at)
            break
        read += 1
        cursor.attempt, cursor.failed_to = pk, max(in_utc(cursor.failed_to), in_utc(ended_at))
        columns = counts.setdefault((bucket_of(ended_at), effect), Counter())
        columns["failed"] += outcome in _FAILED
        columns["uncertain"] += outcome == _Outcome.UNCERTAIN
        columns["poisoned"] += state == State.POISONED and number == attempts
    _add(using, {key: +columns for key, columns in counts.items() if +columns})
    swept.seen += read
    is_over = cut is not None or read < _MOST_ATTEMPTS
    if is_over:
        cursor.failed_to = settled
    return is_over


# What they add up to


def _add(using: str, counts: Counts) -> None:
    """Three statements, however many effects there are. Nobody else writes these rows meanwhile."""
    if not counts:
        return
    rows = EffectRollup.objects.using(using)
    names = {name for columns in counts.values() for name in columns}
    buckets, effects = {bucket for bucket, _ in counts}, {effect for _, effect in counts}
    found = rows.filter(bucket__in=buckets, effect__in=effects)
    there = {(in_utc(row.bucket), row.effect): row for row in found}
    new = []
    for (bucket, effect), columns in sorted(counts.items(), key=lambda item: item[0]):
        row = there.get((bucket, effect))
        if row is None:
            new.append(EffectRollup(bucket=bucket, effect=effect, **columns))
            continue
        for name, n in columns.items():
            setattr(row, name, getattr(row, name) + n)
    # By the columns that are counted here: a later release may have more.
    changed = [row for key, row in there.items() if key in counts]
    rows.bulk_update(changed, sorted(names), batch_size=_ROWS)
    rows.bulk_create(new, batch_size=_ROWS)
