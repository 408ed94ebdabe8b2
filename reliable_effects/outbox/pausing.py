"""
Pause an effect and resume it: what is under way ends, nothing new of it begins, nothing is lost.

Every worker hears of it within two seconds. Other effects of the same events go on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime

from django.db import transaction

from ..clock import DbNow
from ..controls.models import EffectControl
from ..effects.registry import registry
from ..exceptions import BadPause
from . import held_back, low_water
from .held_back import LONGEST
from .models import Delivery
from .relay import waiting_queues

logger = logging.getLogger("reliable_effects")

_BATCH = 500  # rows in one statement


def pause(
    effect: str, *, by: str, why: str, until: datetime | None = None, using: str = "default"
) -> None:
    """
    Begin nothing new of *effect* on *using*, until a person resumes it or *until* has come.

    Twice is once: the later reason and instant hold. What waits for its `verify` waits, too.

    Raises:
        UnknownEffect: no effect has this name here.
        BadPause: *why* is empty, or *until* has no zone or is over.
    """
    if not why.strip():
        raise BadPause(effect, "it says no reason; give one, for whoever finds it paused.")
    if until is not None and until.tzinfo is None:
        raise BadPause(effect, f"until={until!r} has no zone; give an aware datetime.")
    controls = EffectControl.objects.using(using)
    with transaction.atomic(using=using):
        for name in _names(effect):
            values = {"paused_at": DbNow(), "paused_until": until, "by": by[:150], "why": why}
            controls.update_or_create(effect=name, defaults=values)
            if not controls.paused().filter(effect=name).exists():
                raise BadPause(effect, f"until={until} is over; give an instant to come.")
    held_back.forget()
    logger.warning("paused %s on %s until=%s by=%r why=%r", effect, using, until, by, why)


def resume(effect: str, *, by: str, why: str, using: str = "default") -> int:
    """
    Let *effect* go on, and bring back at once what was put off; how many deliveries that were.

    They run as fast as workers can: RELAY_OUTSTANDING bounds the flood. Where this is cut short the
    effect is resumed, and what was not brought back comes by itself within 20 minutes.

    Raises:
        UnknownEffect: no effect has this name here.
    """
    names = _names(effect)
    controls = EffectControl.objects.using(using).filter(effect__in=names)
    controls.update(paused_at=None, paused_until=None)
    held_back.forget()
    brought_back = sum(_bring_back(using, queue, names) for queue in waiting_queues(using))
    logger.warning(
        "resumed %s on %s by=%r why=%r: %d brought back", effect, using, by, why, brought_back
    )
    return brought_back


def _names(effect: str) -> tuple[str, ...]:
    """Rows carry the name of their release, so all of them."""
    known = registry.effect(effect)
    return (known.name, *known.aliases)


def _bring_back(using: str, queue: str, names: Sequence[str]) -> int:
    rows = Delivery.objects.using(using)
    total = 0
    for pks in _batches(using, queue, names):
        free = rows.filter(pk__in=pks, claim_token=None, look_at__isnull=False)
        total += free.update(look_at=DbNow(), hints=0)
    low_water.forget()  # they stand in front of where the last scan ended
    return total


def _batches(using: str, queue: str, names: Sequence[str]) -> Iterator[list[int]]:
    """Along the index, a batch at a time, for there may be a million of them."""
    line = Delivery.objects.using(using).in_line(queue)
    ahead = line.filter(look_at__gt=DbNow(), look_at__lte=DbNow() + LONGEST)
    put_off = ahead.filter(due_at__lte=DbNow(), effect__in=names)
    while pks := list(put_off.values_list("pk", flat=True)[:_BATCH]):
        yield pks
