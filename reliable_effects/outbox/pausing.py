"""
Pause an effect and resume it: what is under way ends, nothing new of it begins, nothing is lost.

Every worker hears of it within two seconds. Other effects of the same events go on. Each is two
steps: what is said is written down, which is short and may share a transaction with an audit entry;
then rows are moved, in batches of their own, since there may be a million.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from ..clock import DbNow
from ..controls.models import EffectControl
from ..effects.registry import registry
from ..exceptions import BadPause
from . import held_back, low_water
from .claim_portable import unlocked
from .heartbeat import note_claim
from .models import Delivery, DeliveryQuerySet
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
    write_down(effect, by=by, why=why, until=until, using=using)
    if until is not None:
        wake_by(until, effect, using=using)


def write_down(effect: str, *, by: str, why: str, until: datetime | None, using: str) -> None:
    """The first step of `pause`; raises what it raises, and then nothing was written."""
    if not why.strip():
        raise BadPause(effect, "it says no reason; give one, for whoever finds it paused.")
    if until is not None and until.tzinfo is None:
        raise BadPause(effect, f"until={until!r} has no zone; give an aware datetime.")
    names = held_back.names_of(registry.effect(effect))
    controls = EffectControl.objects.using(using)
    with transaction.atomic(using=using):
        for name in names:
            values = {"paused_at": DbNow(), "paused_until": until, "by": by[:150], "why": why}
            controls.update_or_create(effect=name, defaults=values)
            if not controls.paused().filter(effect=name).exists():
                raise BadPause(effect, f"until={until} is over; give an instant to come.")
    held_back.forget()
    logger.warning("paused %s on %s until=%s by=%r why=%r", effect, using, until, by, why)


def wake_by(
    until: datetime, effect: str, *, using: str = "default", at_most: int | None = None
) -> int:
    """
    The second step of `pause`: what an earlier one without an end has put off sleeps no longer.

    Where it is cut short, the rest comes within two hours of its time.
    """
    held_back.forget()
    names = registry.names_like(effect)
    moved = 0
    for queue in waiting_queues(using):
        rows = _put_off(using, queue, names).filter(look_at__gt=until)
        moved += _move(using, rows, until, _left(at_most, moved))
    return moved


def resume(
    effect: str, *, by: str, why: str, using: str = "default", at_most: int | None = None
) -> int:
    """
    Let *effect* go on, and bring back at once what was put off; how many deliveries that were.

    They run as fast as workers can: RELAY_OUTSTANDING bounds the flood. Where this is cut short, or
    there are more than *at_most*, the effect is resumed, and what was not brought back comes by
    itself within two hours.

    Raises:
        UnknownEffect: no effect has this name here, nor was one of it ever paused.
    """
    end_pause(effect, by=by, why=why, using=using)
    return bring_back(effect, using=using, at_most=at_most)


def end_pause(effect: str, *, by: str, why: str, using: str) -> bool:
    """The first step of `resume`; whether this is what ended it. Raises what `resume` raises."""
    controls = EffectControl.objects.using(using)
    if registry.find_effect(effect) is None and not controls.filter(effect=effect).exists():
        registry.effect(effect)  # says what is wrong
    named = controls.filter(effect__in=registry.names_like(effect))
    was_paused = named.paused().update(paused_at=None, paused_until=None) > 0
    held_back.forget()
    logger.warning("resumed %s on %s by=%r why=%r", effect, using, by, why)
    return was_paused


def bring_back(effect: str, *, using: str = "default", at_most: int | None = None) -> int:
    """The second step of `resume`: what was put off is due now; how many deliveries that were."""
    held_back.forget()
    names = registry.names_like(effect)
    moved = 0
    for queue in waiting_queues(using):
        moved += _bring_back(using, queue, names, _left(at_most, moved))
    logger.info("%d of %s brought back on %s", moved, effect, using)
    return moved


def _left(at_most: int | None, moved: int) -> int | None:
    return None if at_most is None else max(at_most - moved, 0)


def _bring_back(using: str, queue: str, names: Sequence[str], at_most: int | None) -> int:
    moved = _move(using, _put_off(using, queue, names), DbNow(), at_most)
    low_water.forget()  # they stand in front of where the last scan ended
    if moved:
        # Nobody has claimed anything here because there was nothing to claim. Else the relay would
        # take the queue for one that nobody consumes, and send a hint a minute.
        note_claim(using, queue)
    return moved


def _put_off(using: str, queue: str, names: Sequence[str]) -> DeliveryQuerySet:
    return held_back.held_back(using, queue, names)


def _move(using: str, rows: DeliveryQuerySet, look_at: Any, at_most: int | None) -> int:
    total = 0
    for pks in _batches(rows):
        left = _left(at_most, total)
        if left == 0:
            break
        with transaction.atomic(using=using):
            rows = Delivery.objects.using(using)
            mine = unlocked(rows, pks[:left])  # nobody is waited for: a person waits for this
            free = rows.filter(pk__in=mine, claim_token=None, look_at__isnull=False)
            moved = free.update(look_at=look_at, hints=0)
        if not moved:
            break  # somebody holds all of these; they come by themselves
        total += moved
    return total


def _batches(rows: DeliveryQuerySet) -> Iterator[list[int]]:
    """Along the index, a batch at a time, for there may be a million; what is moved is not found again."""
    while pks := list(rows.values_list("pk", flat=True)[:_BATCH]):
        yield pks
