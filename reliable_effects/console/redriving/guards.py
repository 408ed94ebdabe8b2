"""
What a redrive of one delivery would come to: the questions of a run, asked in its order.

Nothing is changed here, and no effect and no `verify` is run; but guards and upcasters are the
project's, so whoever calls this sees to it that they cannot write (`reading.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from ...effects.effect import Effect
from ...effects.registry import registry
from ...exceptions import BadPayload
from ...outbox.models import Delivery, OutboxEvent
from ...outbox.payloads import declared, in_force
from ...outbox.run import is_expired, is_still_needed
from ...outbox.states import State
from ...outbox.subjects import MISSING, subject_of


class Foreseen(Enum):
    """What a redrive of one delivery would come to."""

    RUNS = "would run"
    UNCERTAIN = "would run, though it may have happened"
    NOT_NEEDED = "no longer needed: would be skipped"
    EXPIRED = "later than expires_after: would be skipped"
    DONE = "already done: left alone"
    WAITS = "waits already: left alone"
    RUNNING = "running: left alone"
    PAUSED = "would wait: its effect is paused"
    UNREADABLE = "cannot be decoded: would be set aside again"
    LATER_RELEASE = "written by a later release: would wait for it"
    UNKNOWN = "its effect is unknown here"
    GONE = "its subject is gone: would be set aside again"
    GONE_SKIPPED = "its subject is gone: would be skipped"
    FAILED = "the guard itself failed"


_BY_STATE = {
    State.SUCCEEDED: Foreseen.DONE,
    State.PENDING: Foreseen.WAITS,
    State.RUNNING: Foreseen.RUNNING,
}
LEFT_ALONE = frozenset(_BY_STATE.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Guards:
    """What is asked about each delivery, and what is the same for all."""

    using: str
    now: datetime
    paused: Collection[str]  # names of effects

    def foresee(self, delivery: Delivery, event: OutboxEvent | None) -> Foreseen:
        """Raises what a guard raises."""
        if left := _BY_STATE.get(State(delivery.state)):
            return left
        effect = registry.find_effect(delivery.effect)
        if effect is None:
            return Foreseen.UNKNOWN
        found = self._asked(effect, delivery, event)
        if found is not Foreseen.RUNS:
            return found
        if any(name in self.paused for name in (effect.name, *effect.aliases)):
            return Foreseen.PAUSED
        return Foreseen.UNCERTAIN if delivery.state == State.UNCERTAIN else found

    def _asked(
        self, effect: Effect[Any, Any], delivery: Delivery, event: OutboxEvent | None
    ) -> Foreseen:
        notes = delivery.notes
        payload = in_force(self.using, delivery.pk, notes, event) if event is not None else None
        if event is None or payload is None:  # lost, or the edit that its notes name is
            return Foreseen.UNREADABLE
        known = declared(effect, event)
        if payload.version > known.version:
            return Foreseen.LATER_RELEASE
        try:
            known.codec.load(payload.stored, payload.version)
        except BadPayload:
            return Foreseen.UNREADABLE
        subject = subject_of(effect, event, self.using)
        if subject is MISSING and effect.subject_gone != "run":
            return Foreseen.GONE if effect.subject_gone == "poison" else Foreseen.GONE_SKIPPED
        if is_expired(effect, event, self.now):
            return Foreseen.EXPIRED
        there = None if subject is MISSING else subject
        needed = is_still_needed(effect, there, self.using)
        return Foreseen.RUNS if needed else Foreseen.NOT_NEEDED
