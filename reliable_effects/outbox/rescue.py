"""
Mend expired leases: the worker died, hung, or was too slow, and its delivery must go on.

Each row by itself, guarded by the token it was found with, so that one bad row stops nothing and
a worker that comes back a moment earlier wins.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from time import monotonic
from typing import Any

from django.db import transaction
from django.db.models import F

from ..clock import DbNow
from ..conf import settings
from ..effects.registry import registry
from . import tell, unknown
from .failures import attempt_row
from .heartbeat import Swept, Turn
from .models import Attempt, Delivery
from .reconnect import mend
from .states import Flag, Notes, Reason, State, noted

logger = logging.getLogger("reliable_effects")

_left_off: dict[str, int] = {}  # by database: where the last sweep was cut short

_PAGE = 500  # rows read at once
_BOUND = 5.0  # seconds a sweep; the relay waits for it in the same thread
_LONG = timedelta(seconds=30)  # an absence shorter than that is a restart, however short the leases


def rescue(using: str, turn: Turn) -> Swept:
    """One sweep. *turn* tells how long nobody has swept: after a fleet's absence the first is free."""
    swept = Swept()
    forgive = _nobody_was_there(turn)
    failures = 0
    for row in _expired(using, swept):
        try:
            swept.done += _mend(using, row, forgive=forgive)
        except Exception as error:  # whatever is wrong with this one, others wait
            failures += 1
            logger.error(  # noqa: TRY400  # there may be thousands: one traceback will do
                "could not rescue delivery %d: %s; the others go on", row.pk, error,
                exc_info=failures == 1,
            )  # fmt: skip
            mend(using)
    swept.done += unknown.revive(using)
    return swept


def forget() -> None:
    """For tests that empty the tables."""
    _left_off.clear()


def _expired(using: str, swept: Swept) -> Iterator[Delivery]:
    """What nobody was heard of in time; at the next sweep from where this one is cut short."""
    rows = Delivery.objects.using(using).filter(state=State.RUNNING, lease_expires_at__lte=DbNow())
    last = _left_off.pop(using, 0)
    bound = monotonic() + _BOUND
    while page := list(rows.filter(pk__gt=last).order_by("pk")[:_PAGE]):
        for row in page:
            if monotonic() > bound:
                _left_off[using] = last
                swept.truncated = True
                return
            swept.seen += 1
            last = row.pk
            yield row
        if len(page) < _PAGE:
            return


def _nobody_was_there(turn: Turn) -> bool:
    """The sweep itself was away for longer than a lease, so a death says nothing of the effect."""
    lease = settings().timeout + settings().lease_grace
    return turn.since_last is not None and turn.since_last > max(lease, _LONG)


def _mend(using: str, row: Delivery, *, forgive: bool) -> bool:
    """Whether *row* was ours to mend: neither its worker nor another rescue was there first."""
    expired = Delivery.objects.using(using).filter(
        pk=row.pk, claim_token=row.claim_token, lease_expires_at__lte=DbNow()
    )
    with transaction.atomic(using=using):
        # Whoever has it locked is alive (an `atomic` effect's heartbeat is in its own transaction,
        # and so is a debt promised again): to wait for one would keep all others waiting.
        # What it had noted until then (that it has begun, say) is read under the lock.
        found = expired.select_for_update(skip_locked=True).first()
        if found is None:
            return False
        row, move = found, _move(found, forgive=forgive)
        won = expired.update(claim_token=None, lease_expires_at=None, **move) == 1
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
        _tell(using, row, move)
    return won


def _move(row: Delivery, *, forgive: bool) -> dict[str, Any]:
    """What becomes of a delivery whose worker was lost; `state` last, as MariaDB sets in order."""
    notes = row.notes if isinstance(row.notes, dict) else {}
    verifying = bool(row.flags & Flag.VERIFYING)
    flags = row.flags & ~(Flag.GROUP | Flag.VERIFYING) | Flag.ALONE
    given_back = 0
    if row.flags & Flag.GROUP:
        # Any of the group may have done it: it costs nobody an attempt, and from now on each is
        # alone, so that the next death convicts the right one.
        given_back = 1
    elif forgive and not row.flags & Flag.FORGIVEN:
        given_back = 0 if verifying else 1  # to verify spends none
        flags |= Flag.FORGIVEN
    else:
        notes = notes | {Notes.KILLS: noted(notes, Notes.KILLS) + 1}
    killer = noted(notes, Notes.KILLS) >= settings().max_kills
    move: dict[str, Any] = {
        "look_at": DbNow(),
        "attempts": F("attempts") - given_back,
        "flags": flags,
        "notes": notes or None,
    }
    if verifying or row.flags & Flag.VERIFIABLE:
        if killer and verifying:
            move["look_at"] = None  # even asking kills: a person must decide
        return move | {"state": State.UNCERTAIN}
    if killer:
        gone = {"look_at": None, "reason": Reason.KILLED_WORKERS, "finished_at": DbNow()}
        return move | gone | {"fingerprint": "", "state": State.POISONED}
    return move | {"state": State.PENDING}


def _tell(using: str, row: Delivery, move: dict[str, Any]) -> None:
    effect = registry.find_effect(row.effect)
    facts: dict[str, Any] = {"delivery_id": row.pk, "key": row.key, "using": using}
    match move["state"]:
        case State.POISONED:
            tell.poisoned(row.effect, effect, Reason.KILLED_WORKERS, **facts)
        case State.UNCERTAIN:
            for_a_person = move["look_at"] is None
            tell.uncertain(
                row.effect, effect, waits_for_a_person=for_a_person,
                why="its worker was lost; ", **facts,
            )  # fmt: skip
        case _:
            logger.warning("rescued %s delivery=%d: its worker was lost", row.effect, row.pk)
