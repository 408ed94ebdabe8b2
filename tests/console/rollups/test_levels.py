"""How each queue stands, as it was last seen; and what is deleted when it is old."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from reliable_effects.clock import DbNow, moved
from reliable_effects.console.rollups import sweep as sweep_module
from reliable_effects.console.rollups.models import EffectRollup, QueueRollup, bucket_of
from reliable_effects.console.rollups.sweep import ROLLUP, rollup
from reliable_effects.outbox.sweeps import periods, sweep
from tests.console.rollups.conftest import MINUTE, ago, ended
from tests.outbox.conftest import (
    pending_delivery,
    poisoned_delivery,
    running_delivery,
    uncertain_delivery,
)

pytestmark = pytest.mark.django_db


def level(queue: str = "effects") -> QueueRollup:
    return QueueRollup.objects.filter(queue=queue).latest("seen_at")


def test_each_queue_is_seen_as_it_stands():
    """Due, the oldest of it, running, and what waits for a person."""
    for minutes in (1, 3):
        pending_delivery(due_at=DbNow() - minutes * MINUTE)
    pending_delivery(due_at=DbNow() + MINUTE, look_at=DbNow() + MINUTE)
    pending_delivery(queue="payments")
    running_delivery()
    poisoned_delivery()
    uncertain_delivery(look_at=None)

    rollup("default")

    row = level()
    assert (row.due, row.running, row.poisoned, row.uncertain) == (2, 1, 1, 1)
    assert 180 <= row.oldest_due < 240
    assert (level("payments").due, level("payments").poisoned) == (1, 0)


def test_a_queue_in_which_nothing_is_due_says_so():
    """Not that the oldest is due for no time."""
    rollup("default")

    assert (level().due, level().oldest_due) == (0, None)


def test_the_last_look_of_five_minutes_stays():
    """One row for each queue, however often it was seen."""
    rollup("default")
    pending_delivery()

    rollup("default")

    of_now = QueueRollup.objects.filter(queue="effects", bucket=level().bucket)
    assert [row.due for row in of_now] == [1]
    with moved(5 * MINUTE):
        rollup("default")
    assert len({row.bucket for row in QueueRollup.objects.filter(queue="effects")}) > 1


def test_each_queue_has_its_turn_where_time_is_short(monkeypatch):
    """Those that were not seen come first in the next sweep."""
    for queue in ("a", "b", "c"):
        pending_delivery(queue=queue)
    times = iter(range(1000))
    monkeypatch.setattr("reliable_effects.console.rollups.levels.monotonic", lambda: next(times))
    monkeypatch.setattr(sweep_module, "_LOOKING", 2)

    for _ in range(4):
        assert rollup("default").truncated

    assert {"a", "b", "c"} <= set(QueueRollup.objects.values_list("queue", flat=True))


def test_what_is_old_is_deleted_in_batches(settings, monkeypatch):
    """And each batch is small."""
    settings.RELIABLE_EFFECTS = {"ROLLUP_RETENTION": timedelta(days=1)}
    monkeypatch.setattr(sweep_module, "_BATCH", 2)
    for hours in (23, 25, 26, 27):
        bucket = bucket_of(timezone.now() - timedelta(hours=hours))
        EffectRollup.objects.create(bucket=bucket, effect="shop.wrap")
        QueueRollup.objects.create(bucket=bucket, queue="old", seen_at=bucket)

    first = rollup("default")
    assert (first.done, first.truncated) == (4, True)
    second = rollup("default")

    assert (second.done, second.truncated) == (2, False)
    assert EffectRollup.objects.count() == 1
    assert QueueRollup.objects.filter(queue="old").count() == 1


def test_it_is_a_sweep_of_each_minute(settings):
    """Whose period a project may set."""
    assert periods()[ROLLUP] == MINUTE
    settings.RELIABLE_EFFECTS = {"ROLLUP_PERIOD": 2 * MINUTE}
    assert periods()[ROLLUP] == 2 * MINUTE
    ended(0, finished_at=ago(5))
    assert sweep("default", ROLLUP, now=True) is not None
