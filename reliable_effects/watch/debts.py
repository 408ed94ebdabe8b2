"""What the last walks over the owed queries found: two rows for each, however much is owed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ..conf import settings
from ..reconcile.models import Tier, Walk
from ..reconcile.sweeps import owed_effects

_AT_MOST = 1000  # walks
_OVERDUE_AFTER = 3  # periods: a walk that takes long, or a sweep that is behind, is none


@dataclass(kw_only=True)
class Debts:
    """What the last whole walk of one tier over one owed query found."""

    effect: str
    tier: str
    age: timedelta | None  # of that walk; None: there was none yet
    found: dict[str, int] = field(default_factory=dict)  # by `reconcile.findings.Finding`
    promised: int = 0  # by the walk that is under way, or by the last one
    problem: str = ""  # why the last walk came no further
    is_under_way: bool = False
    is_overdue: bool = False


def of(alias: str, now: datetime) -> list[Debts]:
    """
    Of effects that this release knows, and whose subjects live there.

    Both tiers: what the walk over what is recent has promised, the one over everything finds waiting.
    """
    known = {effect.identity: effect.name for effect in owed_effects(alias)}
    tiers = [Tier.ALL, Tier.RECENT]
    walks = Walk.objects.using(alias).filter(effect__in=list(known), tier__in=tiers)
    return [
        Debts(
            effect=known[walk.effect],
            tier=walk.tier,
            age=now - walk.ended_at if walk.ended_at else None,
            found={kind: int(n) for kind, n in sorted(walk.found.items())},
            promised=walk.promised,
            problem=walk.problem,
            is_under_way=walk.is_under_way,
            is_overdue=_is_overdue(walk, now),
        )
        for walk in walks.order_by("effect", "tier").defer("days")[:_AT_MOST]
    ]


def _is_overdue(walk: Walk, now: datetime) -> bool:
    """Not where there was none yet: all that a new effect is owed may take days to look through."""
    known = settings()
    period = known.reconcile_period if walk.tier == Tier.RECENT else known.reconcile_all_period
    patience = _OVERDUE_AFTER * period
    if walk.ended_at is None or now - walk.ended_at <= patience:
        return False
    # One that began lately may follow a long stop of everything.
    began_lately = walk.began_at is not None and now - walk.began_at <= patience
    return not (walk.is_under_way and began_lately)
