"""A day behind the overview, as the sweep `rollup` would have left it: quiet at night, and a trouble."""

from __future__ import annotations

from datetime import datetime
from math import cos, pi, sin

from reliable_effects.clock import read_clock
from reliable_effects.console.rollups.models import (
    SPAN,
    EffectRollup,
    QueueRollup,
    RollupCursor,
    bucket_of,
)

from .shop import BOOK

_EFFECTS = {"shop.send_receipt": 1.0, "shop.charge_card": 1.0, "shop.count_points": 0.9, BOOK: 0.8}
_DAY = 24 * 12  # buckets
_TROUBLE = 9  # buckets since the courier changed its answer


def a_day() -> None:
    last = bucket_of(read_clock("default"))
    places = dict.fromkeys(("emitted_to", "ended_to", "failed_to"), last)
    RollupCursor.objects.update_or_create(
        pk=RollupCursor.THE_ONE, defaults={"began_at": last - 2 * _DAY * SPAN, **places}
    )
    EffectRollup.objects.all().delete()
    QueueRollup.objects.exclude(bucket=last).delete()
    for back in range(1, _DAY + 2):
        bucket = last - back * SPAN
        busy = 60 - 45 * cos((bucket.hour + bucket.minute / 60) / 12 * pi) + 4 * sin(back * back)
        EffectRollup.objects.bulk_create(
            _counted(effect, int(busy * share), back, bucket) for effect, share in _EFFECTS.items()
        )
        QueueRollup.objects.create(
            queue="effects", bucket=bucket, seen_at=bucket + SPAN, due=int(busy / 9) % 11,
            oldest_due=int(busy / 20),
        )  # fmt: skip


def _counted(effect: str, count: int, back: int, bucket: datetime) -> EffectRollup:
    is_wrong = effect == BOOK and back <= _TROUBLE
    poisoned = count // 3 if is_wrong else 0
    return EffectRollup(
        bucket=bucket,
        effect=effect,
        emitted=count,
        succeeded=0 if is_wrong else count,
        failed=2 * poisoned if is_wrong else count // 40,
        poisoned=poisoned,
    )
