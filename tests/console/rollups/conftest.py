"""A place from which counting goes on, rows of some minutes ago, and what was counted of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from reliable_effects.console.rollups import sweep as sweep_module
from reliable_effects.console.rollups.models import EffectRollup, RollupCursor
from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent
from reliable_effects.outbox.states import Reason, State
from tests.outbox.conftest import pending_delivery

MINUTE = timedelta(minutes=1)
COLUMNS = ("emitted", "succeeded", "skipped", "failed", "poisoned", "uncertain")


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep has all the time it wants: machines are busy, and few tests are about time."""
    monkeypatch.setattr(sweep_module, "_COUNTING", 60.0)
    monkeypatch.setattr(sweep_module, "_LOOKING", 60.0)


@pytest.fixture
def counted_to() -> Callable[..., RollupCursor]:
    """`counted_to(ago)`: everything up to then is counted."""

    def make(ago: timedelta = timedelta(hours=1)) -> RollupCursor:
        at = timezone.now() - ago
        places = dict.fromkeys(("began_at", "emitted_to", "ended_to", "failed_to"), at)
        return RollupCursor.objects.create(**places)

    return make


def ago(minutes: float) -> datetime:
    return timezone.now() - minutes * MINUTE


def ended(minutes: float, effect: str = "shop.wrap", **columns: Any) -> Delivery:
    """It succeeded so many minutes ago; its event is of long before."""
    columns = {"state": State.SUCCEEDED, "look_at": None, "finished_at": ago(minutes), **columns}
    event = columns.pop("event", {"emitted_at": ago(60 * 24)})
    return pending_delivery(effect, event=event, **columns)


def emitted(minutes: float, *effects: str) -> OutboxEvent:
    """One event of so many minutes ago, and a delivery for each of *effects*."""
    first, *others = effects or ("shop.wrap",)
    row = pending_delivery(first, event={"emitted_at": ago(minutes)})
    for effect in others:
        pending_delivery(effect, event=row.event)
    return row.event


def failed(
    minutes: float, effect: str = "shop.wrap", outcome: str = Attempt.Outcome.FAILED, **columns: Any
) -> Attempt:
    """An attempt that did not end well; its delivery waits, unless *columns* say otherwise."""
    columns = {"attempts": 1, **columns}
    row = pending_delivery(effect, event={"emitted_at": ago(60 * 24)}, **columns)
    return Attempt.objects.create(delivery=row, number=1, outcome=outcome, ended_at=ago(minutes))


POISONED = {
    "state": State.POISONED,
    "look_at": None,
    "reason": Reason.ATTEMPTS_SPENT,
}


def counted(column: str) -> dict[str, int]:
    """By effect, over all buckets; nothing where nothing was."""
    found: dict[str, int] = {}
    for effect, n in EffectRollup.objects.values_list("effect", column):
        found[effect] = found.get(effect, 0) + n
    return {effect: n for effect, n in found.items() if n}
