"""
How long a delivery is kept after its end: what its effect says, what the project says, or a week.

What ended well is kept for `RETENTION`; anything else is deleted only where it is named.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ..conf import settings
from ..effects.effect import Effect
from ..effects.registry import registry
from .states import ENDED_WELL, Reason, State


def kept_for(effect: Effect[Any, Any], state: State, reason: str) -> timedelta | None:
    """How long what ended so is kept; None: until a person deletes it."""
    if state is State.CANCELLED and effect.owed_query is not None:
        # Reconcile might find it owed and promise it again; this row is how it knows better.
        return None
    ended_well = _ended_well(state, reason)
    for said in (effect.retention, settings().retention_by_state):
        if isinstance(said, timedelta):
            if ended_well:
                return said
            continue
        for key in (f"{state.name}:{reason}", state.name):
            if said and key in said:
                return said[key]
    return settings().retention if ended_well else None


def spans(*states: State) -> list[timedelta]:
    """The different spans for which what ended in one of *states* is kept, the shortest first."""
    found = {
        kept_for(effect, state, reason)
        for effect in registry.effects()
        for state in states
        for reason in Reason.values
    }
    return sorted(span for span in found if span is not None)


def _ended_well(state: State, reason: str) -> bool:
    # What expired, or was skipped by its effect, did not happen: it is not ours to forget.
    return state in ENDED_WELL and (state is not State.SKIPPED or reason == Reason.NOT_NEEDED)
