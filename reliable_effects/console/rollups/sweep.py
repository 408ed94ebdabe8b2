"""The sweep `rollup`: count what happened, look how it stands, and delete what is old."""

from __future__ import annotations

from ...clock import DbNow
from ...conf import settings
from ...outbox.heartbeat import Swept, Turn
from ...outbox.sweeps import add
from . import counting, levels
from .models import EffectRollup, QueueRollup

ROLLUP = "rollup"

_COUNTING = 1.0  # seconds; the relay waits for this sweep in the same thread
_LOOKING = 1.0  # seconds
_BATCH = 500  # rows of one DELETE; more than a run writes, unless there are thousands of effects


def register() -> None:
    """Let the sweeps' timer know of ours."""
    add(ROLLUP, lambda: settings().rollup_period, rollup)


def rollup(using: str, _turn: Turn | None = None) -> Swept:
    """One turn. How it stands comes first: it is what people look for when all is late."""
    swept = Swept()
    counting.begin(using)
    levels.look(using, _LOOKING, swept)
    counting.count(using, _COUNTING, swept)
    for rows in (EffectRollup.objects.using(using), QueueRollup.objects.using(using)):
        old = rows.filter(bucket__lt=DbNow() - settings().rollup_retention).order_by("bucket")
        ids = list(old.values_list("pk", flat=True)[:_BATCH])
        if ids:
            swept.done += rows.filter(pk__in=ids).delete()[0]
        swept.truncated |= len(ids) == _BATCH
    return swept
