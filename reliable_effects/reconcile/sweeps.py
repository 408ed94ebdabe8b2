"""
The fan-out over every owed query: hourly over what is recent, daily over everything, in slices.

Each sweep is bounded, as all are; a walk that is not at its end goes on in the next turn, ten
seconds later. One effect's query that fails, or takes long, keeps no other from being asked.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from django.db import router

from ..clock import in_utc
from ..conf import settings
from ..effects.effect import Effect
from ..effects.registry import registry
from ..outbox import outage
from ..outbox.heartbeat import Swept, Turn
from ..outbox.passing import may_pass
from ..outbox.reconnect import mend
from ..outbox.sweeps import add
from . import coverage
from .models import Tier, Walk
from .walk import due_walk, fail, go_on

RECONCILE, RECONCILE_ALL, COVERAGE = "reconcile", "reconcile_all", "coverage"

_COVERAGE_PERIOD = timedelta(minutes=1)
_NEVER = datetime.min.replace(tzinfo=UTC)
_BOUND = 2.0  # seconds a sweep; the relay waits for it in the same thread


def register() -> None:
    """Let the sweeps' timer know of ours."""
    add(RECONCILE, lambda: settings().reconcile_period, reconcile)
    add(RECONCILE_ALL, lambda: settings().reconcile_all_period, reconcile_all)
    add(COVERAGE, lambda: _COVERAGE_PERIOD, coverage.follow)


def reconcile(using: str, _turn: Turn) -> Swept:
    """What began to be owed lately."""
    return _fan_out(using, Tier.RECENT)


def reconcile_all(using: str, _turn: Turn) -> Swept:
    """Everything, however old."""
    return _fan_out(using, Tier.ALL)


def owed_effects(using: str) -> list[Effect[Any, Any]]:
    """Effects with an owed query whose subjects live on the database *using*."""
    return [
        effect
        for effect in registry.effects()
        if effect.owed_query is not None
        and (model := effect.event.known_model) is not None
        and (router.allow_migrate_model(using, model) or router.db_for_write(model) == using)
    ]


def _fan_out(using: str, tier: Tier) -> Swept:
    swept = Swept()
    until = monotonic() + _BOUND
    for effect in _longest_waiting_first(using, tier):
        if monotonic() > until:
            swept.truncated = True
            break
        _walk_on(effect, using, tier, until, swept)
    return swept


def _walk_on(effect: Effect[Any, Any], using: str, tier: Tier, until: float, swept: Swept) -> None:
    walk = due_walk(effect, using, tier)
    if walk is None:
        return
    try:
        stretch = go_on(effect, using, walk, until)
    except Exception as error:  # noqa: BLE001  # the query is the project's
        outage.tell(f"could not reconcile {effect.name}; the others go on", error)
        mend(using)
        if may_pass(error):
            swept.truncated = True  # it goes on from its place, soon
        else:
            fail(using, walk, error)
        return
    swept.seen += stretch.seen
    swept.done += stretch.done
    swept.truncated |= stretch.truncated


def _longest_waiting_first(using: str, tier: Tier) -> list[Effect[Any, Any]]:
    """So that a long walk, begun again in each turn, never keeps the last effect from its own."""
    known = Walk.objects.using(using).filter(tier=tier, looked_at__isnull=False)
    looked = {walk.effect: in_utc(walk.looked_at or _NEVER) for walk in known.defer("days")}
    return sorted(owed_effects(using), key=lambda effect: looked.get(effect.identity, _NEVER))
