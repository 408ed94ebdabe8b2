"""
Names and versions that this release does not know: another worker may, during a deploy.

Such a row is put off and costs no attempt. When nobody has known it for a day it is set aside as
UNKNOWN_EFFECT, and it comes back by itself when a worker sweeps that knows the name.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..clock import DbNow, read_clock
from ..conf import settings
from ..effects.registry import registry
from . import finish, tell
from .claimed import Claimed, Seen
from .models import Attempt, Delivery
from .persist import surely
from .states import Reason, State

logger = logging.getLogger("reliable_effects")

_WAS_UNCERTAIN = "was_uncertain"  # in Delivery.notes of what was set aside as unknown
SINCE = "unknown_since"  # in Delivery.notes; any claim clears it
_REVIVE_AT_MOST = 1000  # rows a sweep
_LOOK_THROUGH = 10_000  # poison pills a sweep; only some of them are of unknown effects

_left_off: dict[str, int] = {}  # by database: where the last sweep was cut short


def put_off(row: Seen) -> None:
    """Out of the line for a minute, no attempt spent; set aside when nobody has known it for long."""
    notes = row.notes or {}
    now = read_clock(row.using)
    since = _since(notes, now)
    # Guarded by what was seen: a claim in between has changed `hints` or the state.
    rows = Delivery.objects.using(row.using).filter(
        pk=row.id, state=row.state, claim_token=None, due_at__lte=DbNow(), look_at__isnull=False
    )
    if now - since > settings().max_unknown:
        # What may have happened must come back as that, not to be run again unasked.
        was = {_WAS_UNCERTAIN: True} if row.state == State.UNCERTAIN else {}
        if rows.update(
            look_at=None,
            hints=0,
            finished_at=DbNow(),
            reason=Reason.UNKNOWN_EFFECT,
            fingerprint="",
            notes=(notes | was) or None,
            state=State.POISONED,
        ):
            _tell_poisoned(row.using, row.id, Reason.UNKNOWN_EFFECT)
        return
    rows.update(
        look_at=DbNow() + finish.jittered(finish.LOOK_AGAIN),
        hints=0,
        notes=notes | {SINCE: since.isoformat()},
    )
    logger.warning("unknown effect %s delivery=%d: put off", row.effect_name, row.id)


def put_back(claimed: Claimed) -> None:
    """The same for a payload of a later version, which is only seen after the claim."""
    now = surely(claimed.using, lambda: read_clock(claimed.using))
    since = _since(claimed.notes, now)
    if now - since > settings().max_unknown:
        message = "its payload is of a later version than any worker has known"
        if finish.poison(
            claimed, Reason.UNREADABLE, Attempt.Outcome.REFUSED, None, message, begun=False
        ):
            _tell_poisoned(claimed.using, claimed.id, Reason.UNREADABLE)
        return
    again = finish.jittered(finish.LOOK_AGAIN)
    finish.release(claimed, until=again, **{SINCE: since.isoformat()})


def _tell_poisoned(using: str, pk: int, reason: Reason) -> None:
    row = Delivery.objects.using(using).only("effect", "key").get(pk=pk)
    effect = registry.find_effect(row.effect)
    tell.poisoned(row.effect, effect, reason, delivery_id=pk, key=row.key, using=using)


def _since(notes: Mapping[str, Any], now: datetime) -> datetime:
    """Since when nobody knows it: from *now* on, where that is not noted, or not readable."""
    try:
        return datetime.fromisoformat(notes[SINCE]).astimezone(UTC)
    except (KeyError, TypeError, ValueError):
        return now


def revive(using: str) -> int:
    """
    Set free what was set aside as unknown and is known to this process; how many.

    No index tells such from other poison pills, of which there may be many. So it looks through a
    part of them, and the next sweep of this process goes on behind it.
    """
    pills = Delivery.objects.using(using).filter(state=State.POISONED)
    pills = pills.filter(pk__gt=_left_off.pop(using, 0)).order_by("pk")
    pks = pills.values_list("pk", flat=True)
    end = next(iter(pks[_LOOK_THROUGH - 1 : _LOOK_THROUGH]), None)
    if end is not None:
        pills = pills.filter(pk__lte=end)
        _left_off[using] = end
    rows = Delivery.objects.using(using).filter(state=State.POISONED, reason=Reason.UNKNOWN_EFFECT)
    known = pills.filter(reason=Reason.UNKNOWN_EFFECT, effect__in=registry.effect_names())
    found = list(known.values_list("pk", "notes")[:_REVIVE_AT_MOST])
    if len(found) == _REVIVE_AT_MOST:
        _left_off[using] = found[-1][0]
    freed = 0
    for pk, notes in found:
        was = notes if isinstance(notes, dict) else {}
        kept = {k: v for k, v in was.items() if k not in (SINCE, _WAS_UNCERTAIN)} or None
        state = State.UNCERTAIN if was.get(_WAS_UNCERTAIN) else State.PENDING
        freed += rows.filter(pk=pk).update(
            reason="",
            fingerprint="",
            finished_at=None,
            look_at=DbNow(),
            notes=kept,
            state=state,
        )
    return freed


def forget() -> None:
    """For tests that empty the tables."""
    _left_off.clear()
