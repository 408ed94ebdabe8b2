"""
Mend expired leases: the worker died, hung, or was too slow, and its delivery must go on.

Each row by itself, guarded by the token it was found with, so that one bad row stops nothing and
a worker that comes back a moment earlier wins.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.db import Error, transaction
from django.db.models import F

from ..clock import DbNow
from ..conf import settings
from . import unknown
from .failures import attempt_row
from .heartbeat import Swept, Turn
from .models import Attempt, Delivery
from .states import Flag, Reason, State

logger = logging.getLogger("reliable_effects")

_AT_MOST = 1000  # rows a sweep


def rescue(using: str, turn: Turn) -> Swept:
    """One sweep. *turn* tells how long nobody has swept: after a fleet's absence the first is free."""
    rows = Delivery.objects.using(using).filter(state=State.RUNNING, lease_expires_at__lte=DbNow())
    expired = list(rows.order_by("pk")[: _AT_MOST + 1])
    swept = Swept(seen=min(len(expired), _AT_MOST), truncated=len(expired) > _AT_MOST)
    forgive = _nobody_was_there(turn)
    for row in expired[:_AT_MOST]:
        try:
            swept.done += _mend(using, row, forgive=forgive)
        except Error:
            logger.exception("could not rescue delivery %d; the others go on", row.pk)
    swept.done += unknown.revive(using)
    return swept


def _nobody_was_there(turn: Turn) -> bool:
    """The sweep itself was away for longer than a lease, so a death says nothing of the effect."""
    lease = settings().timeout + settings().lease_grace
    return turn.since_last is not None and turn.since_last > max(lease, timedelta(seconds=30))


def _mend(using: str, row: Delivery, *, forgive: bool) -> int:
    move = _move(row, forgive=forgive)
    with transaction.atomic(using=using):
        won = (
            Delivery.objects.using(using)
            .filter(pk=row.pk, claim_token=row.claim_token, lease_expires_at__lte=DbNow())
            .update(claim_token=None, lease_expires_at=None, **move)
        )
        if won:
            attempt_row(
                row.pk,
                row.attempts,
                Attempt.Outcome.LOST,
                effect=row.effect,
                message=f"nothing was heard of {row.worker or 'its worker'} until the lease ended",
                host=row.worker,
            ).save(using=using, force_insert=True)
    if won:
        logger.warning("rescued %s delivery=%d %s", row.effect, row.pk, State(move["state"]).name)
    return won


def _move(row: Delivery, *, forgive: bool) -> dict[str, Any]:
    """What becomes of a delivery whose worker was lost; `state` last, as MariaDB sets in order."""
    notes = row.notes or {}
    flags = row.flags & ~(Flag.GROUP | Flag.VERIFYING) | Flag.ALONE
    move: dict[str, Any] = {"look_at": DbNow()}
    if row.flags & Flag.GROUP:
        # Any of the group may have done it: it costs nobody an attempt, and from now on each is
        # alone, so that the next death convicts the right one.
        move["attempts"] = F("attempts") - 1
    elif forgive and not row.flags & (Flag.FORGIVEN | Flag.VERIFYING):
        move["attempts"] = F("attempts") - 1
        flags |= Flag.FORGIVEN
    else:
        notes = notes | {"kills": notes.get("kills", 0) + 1}
    killer = notes.get("kills", 0) >= settings().max_kills
    move |= {"flags": flags, "notes": notes or None}
    if row.flags & (Flag.VERIFYING | Flag.VERIFIABLE):
        if killer and row.flags & Flag.VERIFYING:
            move["look_at"] = None  # even asking kills: a person must decide
        return move | {"state": State.UNCERTAIN}
    if killer:
        gone = {"look_at": None, "reason": Reason.KILLED_WORKERS, "finished_at": DbNow()}
        return move | gone | {"state": State.POISONED}
    return move | {"state": State.PENDING}
