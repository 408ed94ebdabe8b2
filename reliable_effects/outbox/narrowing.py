"""What the words of the lists' filters mean, for pages and for what goes on without one."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

from django.db.models import Q

from ..clock import DbNow
from ..effects.registry import registry
from .models import ALIKE
from .states import SET_ASIDE, WAITING, Reason, State

NEEDS_A_PERSON, RETRYING = "needs a person", "retrying"

_LATE = timedelta(minutes=5)
_FINGERPRINT = re.compile(r"[0-9a-f]{32}")

STATES: dict[str, Q] = {
    NEEDS_A_PERSON: Q(state=State.POISONED) | Q(state=State.UNCERTAIN, look_at=None),
    RETRYING: Q(state=State.PENDING, attempts__gt=0),
} | {state.label: Q(state=state) for state in State}

STATES_MEANT: dict[str, tuple[State, ...]] = {
    NEEDS_A_PERSON: SET_ASIDE,
    RETRYING: (State.PENDING,),
} | {state.label: (state,) for state in State}

REASONS_MEANT: dict[str, tuple[State, ...]] = {
    reason.value: (State.POISONED,) for reason in Reason if reason
} | {
    Reason.NOT_NEEDED.value: (State.SKIPPED,),
    Reason.EXPIRED.value: (State.SKIPPED,),
    Reason.EFFECT_SKIPPED.value: (State.SKIPPED,),
    Reason.SUBJECT_GONE.value: (State.POISONED, State.SKIPPED),
}

# With its state named, a reason is found through the partial index on what was set aside.
REASONS: dict[str, Q] = {
    reason: Q(reason=reason, state=states[0])
    if len(states) == 1
    else Q(reason=reason, state__in=states)
    for reason, states in REASONS_MEANT.items()
}

DUE: dict[str, Callable[[], Q]] = {
    "now": lambda: Q(state__in=WAITING, look_at__isnull=False, due_at__lte=DbNow()),
    "late": lambda: Q(state__in=WAITING, look_at__isnull=False, due_at__lte=DbNow() - _LATE),
    "later": lambda: Q(state__in=WAITING, look_at__isnull=False, due_at__gt=DbNow()),
}


def of_effect(name: str) -> Q | None:
    """Deliveries of the effect, by all its names; None where this release has no such effect."""
    effect = registry.find_effect(name)
    return Q(effect__in=(effect.name, *effect.aliases)) if effect else None


def is_group(text: str) -> bool:
    """Whether *text* can be what the pills of a group of failures have in common."""
    return _FINGERPRINT.fullmatch(text) is not None


def of_group(fingerprint: str) -> Q:
    """Poison pills of one group of failures, through their index."""
    return ALIKE & Q(fingerprint=fingerprint)
