"""What the last walks over the owed queries found: a row for each, however much is owed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ..effects.registry import registry
from ..reconcile.models import Tier, Walk

_AT_MOST = 1000  # effects


@dataclass(kw_only=True)
class Debts:
    """What the last whole walk over one owed query found."""

    effect: str
    age: timedelta | None  # of that walk; None: there was none yet
    found: dict[str, int] = field(default_factory=dict)  # by `reconcile.findings.Finding`
    promised: int = 0  # by the walk that is under way, or by the last one
    problem: str = ""  # why the last walk came no further


def of(alias: str, now: datetime) -> list[Debts]:
    """Of effects that this release knows. What is recent is among all, and newer."""
    known = {e.identity: e.name for e in registry.effects() if e.owed_query is not None}
    walks = Walk.objects.using(alias).filter(effect__in=list(known), tier=Tier.ALL)
    return [
        Debts(
            effect=known[walk.effect],
            age=now - walk.ended_at if walk.ended_at else None,
            found={kind: int(n) for kind, n in sorted(walk.found.items())},
            promised=walk.promised,
            problem=walk.problem,
        )
        for walk in walks.order_by("effect").defer("days")[:_AT_MOST]
    ]
