"""Which effects are paused, and what waits for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ..clock import in_utc
from ..controls.models import EffectControl
from ..effects.registry import registry
from ..outbox import held_back

_MOST = 200  # pauses that are told of


@dataclass(kw_only=True)
class Paused:
    """One effect that a person has paused."""

    effect: str
    age: timedelta
    ends_in: timedelta | None  # None: when a person resumes it
    by: str
    why: str
    waiting: int = 0  # deliveries that were put off for it, as far as they are counted


def of(using: str, now: datetime, at_most: int) -> list[Paused]:
    """Those of *using*, by name. One query, and one more for each."""
    controls = list(EffectControl.objects.using(using).paused().order_by("effect")[:_MOST])
    if not controls:
        return []
    by_name = {_current(control.effect): control for control in controls}
    return [
        Paused(
            effect=name,
            age=now - in_utc(control.paused_at or now),
            ends_in=in_utc(control.paused_until) - now if control.paused_until else None,
            by=control.by,
            why=control.why,
            waiting=_waiting(using, name, at_most),
        )
        for name, control in by_name.items()
    ]


def _waiting(using: str, name: str, at_most: int) -> int:
    """In the effect's own queue, where all of them are but those of an earlier release."""
    effect = registry.find_effect(name)
    if effect is None:
        return 0  # nobody here could run it anyway
    rows = held_back.held_back(using, effect.queue, held_back.names_of(effect))
    return len(rows.values_list("pk", flat=True)[:at_most])


def _current(name: str) -> str:
    """The name that this release has for it; rows may carry an alias."""
    known = registry.find_effect(name)
    return known.name if known else name
