"""A day behind us: rows as the sweep `rollup` would have left them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from reliable_effects.console.rollups.models import (
    SPAN,
    EffectRollup,
    QueueRollup,
    RollupCursor,
    bucket_of,
)
from tests.admin.conftest import log_in

__all__ = ["log_in"]  # a fixture

OVERVIEW = "/admin/reliable_effects/"
SEES_ALL = ("view_delivery", "view_sweep", "view_alert", "view_coverage")


@pytest.fixture
def viewer(log_in: Callable[..., Client]) -> Client:  # the fixture
    return log_in(*SEES_ALL)


@pytest.fixture
def a_day() -> Callable[..., None]:
    """`a_day(hours=…, **columns)`: each five minutes of it 50 succeeded, and 5 attempts failed."""

    def make(
        hours: int = 24, effect: str = "shop.wrap", using: str = "default", **columns: Any
    ) -> None:
        now = timezone.now()
        last = bucket_of(now)
        begin = last - timedelta(hours=hours)
        places = dict.fromkeys(("emitted_to", "ended_to", "failed_to"), last)
        RollupCursor.objects.using(using).get_or_create(defaults={"began_at": begin, **places})
        buckets = [last - n * SPAN for n in range(hours * 12)]
        counts = {"emitted": 50, "succeeded": 50, "failed": 5, **columns}
        EffectRollup.objects.using(using).bulk_create(
            EffectRollup(bucket=bucket, effect=effect, **counts) for bucket in buckets[1:]
        )
        QueueRollup.objects.using(using).bulk_create(
            QueueRollup(bucket=bucket, queue="effects", seen_at=min(bucket + SPAN, now), due=3)
            for bucket in buckets
        )

    return make


@pytest.fixture
def stands() -> Callable[..., QueueRollup]:
    """`stands(due=…, …)`: how the queue was seen just now."""

    def make(queue: str = "effects", **columns: Any) -> QueueRollup:
        now = timezone.now()
        columns = {"bucket": bucket_of(now), "seen_at": now, **columns}
        return QueueRollup.objects.create(queue=queue, **columns)

    return make
