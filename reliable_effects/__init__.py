"""Side effects that happen: declare events and effects, emit in your transaction, and they run."""

from __future__ import annotations

from .effects.backoff import Backoff
from .effects.context import EffectContext
from .effects.effect import effect
from .effects.event import Event
from .effects.outcomes import Poison, Skip, Snooze, Uncertain
from .effects.owed import ONCE
from .effects.wall_clock import WallClock

__all__ = [
    "ONCE",
    "Backoff",
    "EffectContext",
    "Event",
    "Poison",
    "Skip",
    "Snooze",
    "Uncertain",
    "WallClock",
    "effect",
]
