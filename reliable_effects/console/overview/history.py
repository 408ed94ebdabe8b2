"""What the rollup rows say: how it stands, how it went for a day, and which effects had a hard hour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Max, Sum

from ...clock import in_utc, spoken
from ...conf import MOST_COUNTED
from ..rollups.models import SPAN, EffectRollup, QueueRollup, RollupCursor, bucket_of

DAY = timedelta(days=1)  # of the charts
_HOUR = timedelta(hours=1)
_RECENT = 2 * SPAN  # whole ones, and the one under way, of which rates are told
_STANDS = 3 * SPAN  # a queue that was not seen for longer is gone
_QUEUES = 500  # read
_SHOWN = 50  # of them
_EFFECTS = 20  # told of
_PER_MINUTE = SPAN / timedelta(minutes=1)

Series = Mapping[datetime, float]
"""By the bucket; what is missing, nobody knows."""


@dataclass(kw_only=True)
class Levels:
    """How the queues stood when somebody looked last."""

    seen_at: datetime
    queues: list[QueueRollup]

    def total(self, column: str) -> str:
        """Of all queues; "10000+" where a count was cut short."""
        counts = [getattr(row, column) for row in self.queues]
        # Due is counted for each queue, the others for all together: either may be at its end.
        is_cut = max(counts, default=0) >= MOST_COUNTED or (
            column != "due" and sum(counts) >= MOST_COUNTED
        )
        return f"{sum(counts)}+" if is_cut else str(sum(counts))

    def is_any(self, column: str) -> bool:
        return any(getattr(row, column) for row in self.queues)

    @property
    def shown(self) -> list[tuple[QueueRollup, str]]:
        """The fullest, and for how long the oldest of each has waited."""
        return [(row, _waited(row.oldest_due)) for row in self.queues[:_SHOWN]]

    @property
    def oldest_due(self) -> timedelta | None:
        ages = [row.oldest_due for row in self.queues if row.oldest_due is not None]
        return timedelta(seconds=max(ages)) if ages else None


def _waited(seconds: int | None) -> str:
    return "-" if seconds is None else spoken(timedelta(seconds=seconds))


@dataclass(kw_only=True)
class Rates:
    """What happened between two instants: about the last quarter of an hour that is counted."""

    begin: datetime
    end: datetime
    succeeded: int
    failed: int

    @property
    def per_minute(self) -> float:
        return self.succeeded / ((self.end - self.begin) / timedelta(minutes=1))

    @property
    def attempts(self) -> int:
        return self.succeeded + self.failed

    @property
    def failed_percent(self) -> float:
        return 100 * self.failed / self.attempts if self.attempts else 0.0


@dataclass(kw_only=True)
class History:
    """A day, in numbers by the five minutes."""

    succeeded: Series = field(default_factory=dict)  # a minute
    failed: Series = field(default_factory=dict)  # a minute
    due: Series = field(default_factory=dict)
    oldest_due: Series = field(default_factory=dict)  # seconds
    rates: Rates | None = None
    counted_to: datetime | None = None


def levels(using: str) -> Levels | None:
    """The last look at each queue; None where there was none yet. Two small queries."""
    rows = QueueRollup.objects.using(using)
    newest = rows.order_by("-bucket").values_list("bucket", flat=True).first()
    if newest is None:
        return None
    lately = rows.filter(bucket__gt=newest - _STANDS).order_by("-bucket", "-pk")[:_QUEUES]
    last: dict[str, QueueRollup] = {}
    for row in lately:
        last.setdefault(row.queue, row)
    queues = sorted(last.values(), key=lambda row: (-row.due, row.queue))
    return Levels(seen_at=max(in_utc(row.seen_at) for row in queues), queues=queues)


def history(using: str, now: datetime) -> History:
    """The last day up to *now*. Three queries, over the rows of a day."""
    told = History()
    begin = bucket_of(now) - DAY + SPAN
    looks = QueueRollup.objects.using(using).filter(bucket__gte=begin).order_by()
    grouped = looks.values_list("bucket").annotate(due=Sum("due"), oldest=Max("oldest_due"))
    seen = {in_utc(bucket): (due, oldest or 0) for bucket, due, oldest in grouped}
    told.due = {bucket: due for bucket, (due, _) in seen.items()}
    told.oldest_due = {bucket: oldest for bucket, (_, oldest) in seen.items()}
    cursor = RollupCursor.objects.using(using).first()
    if cursor is None:
        return told
    counts = EffectRollup.objects.using(using).filter(bucket__gte=begin).order_by()
    sums = counts.values_list("bucket").annotate(good=Sum("succeeded"), bad=Sum("failed"))
    found = {in_utc(bucket): (good, bad) for bucket, good, bad in sums}
    began_at = in_utc(cursor.began_at)
    succeeded = {bucket: good for bucket, (good, _) in found.items()}
    failed = {bucket: bad for bucket, (_, bad) in found.items()}
    told.succeeded = _whole(succeeded, max(begin, began_at), in_utc(cursor.ended_to))
    told.failed = _whole(failed, max(begin, began_at), in_utc(cursor.failed_to))
    told.counted_to = in_utc(cursor.counted_to)
    told.rates = _rates(succeeded, failed, began_at, told.counted_to)
    return told


def _whole(counts: Mapping[datetime, int], begin: datetime, end: datetime) -> Series:
    """A minute's share of each bucket that lies between the two as a whole; no row is none."""
    bucket = bucket_of(begin)
    series = {}
    while bucket + SPAN <= end:
        if bucket >= begin:
            series[bucket] = counts.get(bucket, 0) / _PER_MINUTE
        bucket += SPAN
    return series


def _rates(
    succeeded: Mapping[datetime, int],
    failed: Mapping[datetime, int],
    began_at: datetime,
    end: datetime,
) -> Rates | None:
    first = bucket_of(end) - _RECENT
    begin = max(first, began_at)
    if end - begin < timedelta(minutes=1):
        return None
    lately = [bucket for bucket in {*succeeded, *failed} if first <= bucket < end]
    return Rates(
        begin=begin,
        end=end,
        succeeded=sum(succeeded.get(bucket, 0) for bucket in lately),
        failed=sum(failed.get(bucket, 0) for bucket in lately),
    )


@dataclass(kw_only=True)
class Hour:
    """One effect's last hour."""

    effect: str
    emitted: int
    succeeded: int
    skipped: int
    failed: int
    poisoned: int
    uncertain: int

    @property
    def wrong(self) -> int:
        return self.failed + self.poisoned + self.uncertain


_COUNTED = ("emitted", "succeeded", "skipped", "failed", "poisoned", "uncertain")


def hardest(using: str, now: datetime) -> list[Hour]:
    """The effects of the last hour: those with most that went wrong in front. One query."""
    rows = EffectRollup.objects.using(using).filter(bucket__gte=bucket_of(now - _HOUR))
    sums = {f"n_{column}": Sum(column) for column in _COUNTED}
    grouped: Iterable[tuple[Any, ...]] = rows.order_by().values_list("effect").annotate(**sums)
    hours = [
        Hour(effect=effect, **dict(zip(_COUNTED, counts, strict=True)))
        for effect, *counts in grouped
    ]
    return sorted(hours, key=lambda hour: (-hour.wrong, -hour.emitted, hour.effect))[:_EFFECTS]


def has_ever_run(using: str) -> bool:
    """Whether anything was ever counted."""
    return EffectRollup.objects.using(using).exists()
