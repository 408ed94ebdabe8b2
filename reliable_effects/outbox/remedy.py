"""
What a person may do to a delivery: redrive it, or give it up. The same row, guarded, never deleted.

Both take one row at a time and go on after a bad one; both say how many they changed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import Error, transaction

from .. import signals
from ..clock import DbNow
from ..effects.registry import registry
from .models import Delivery, DeliveryQuerySet
from .states import CANCELLABLE, REDRIVABLE, Reason, State

logger = logging.getLogger("reliable_effects")


def redrive(rows: DeliveryQuerySet, *, by: str, why: str) -> list[Delivery]:
    """
    Run *rows* again under the keys they have: attempts from 0, due now.

    Those that wait, run or succeeded are left alone. *by* and *why* go to the log and the signal;
    the admin writes its own entry. Gives the rows that were changed.
    """
    changed, using = [], rows.db
    for row in rows.filter(state__in=REDRIVABLE).iterator(chunk_size=500):
        if _change(using, row, "redriven", by, why, **_redriven(row)):
            changed.append(row)
            told = partial(
                signals.delivery_redriven.send_robust,
                registry.find_effect(row.effect),
                delivery_id=row.pk,
                key=row.key,
                using=using,
                by=by,
                why=why,
            )
            # At once, but for callers with a transaction of their own, who may still take it back.
            transaction.on_commit(told, using=using, robust=True)
    return changed


def cancel(rows: DeliveryQuerySet, *, by: str, why: str) -> list[Delivery]:
    """Give *rows* up. What runs is left alone: nobody can call it back. Gives what was changed."""
    return [
        row
        for row in rows.filter(state__in=CANCELLABLE).iterator(chunk_size=500)
        if _change(
            rows.db, row, "cancelled", by, why,
            look_at=None, reason="", finished_at=DbNow(), state=State.CANCELLED,
        )
    ]  # fmt: skip


def _redriven(row: Delivery) -> dict[str, Any]:
    notes = {k: v for k, v in (row.notes or {}).items() if k == "round"}
    if row.state != State.UNCERTAIN:  # an ended row begins a new round: its emits are new
        notes["round"] = notes.get("round", 0) + 1
    return {
        "attempts": 0,
        "hints": 0,
        "due_at": DbNow(),
        "look_at": DbNow(),
        "finished_at": None,
        "reason": "",
        "notes": notes or None,
        "state": State.PENDING,
    }


def _change(using: str, row: Delivery, verb: str, by: str, why: str, **values: Any) -> bool:
    """One guarded UPDATE: only from the state that was read, and only while nobody runs it."""
    free = Delivery.objects.using(using).filter(pk=row.pk, state=row.state, claim_token=None)
    try:
        # A savepoint where the caller has a transaction open: else one bad row would spoil it.
        with transaction.atomic(using=using):
            won = free.update(**values) == 1
    except Error:
        logger.exception("%s of delivery %d failed; the others go on", verb, row.pk)
        return False
    if won:
        logger.info("%s %s delivery=%d by=%r why=%r", verb, row.effect, row.pk, by, why)
    return won


# What will be done, said beforehand

ALLOWED = {"redrive": REDRIVABLE, "cancel": CANCELLABLE}

LEFT_ALONE = {
    "redrive": {
        State.PENDING: "it waits already, and runs by itself",
        State.RUNNING: "a worker is running it",
        State.SUCCEEDED: "it happened",
    },
    "cancel": {
        State.RUNNING: "a worker is running it, and nobody can call it back",
        State.SUCCEEDED: "it happened",
        State.SKIPPED: "it has ended without acting",
        State.CANCELLED: "it is cancelled",
    },
}


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a verb would do to the deliveries of one effect that stand alike."""

    effect: str
    state: State
    reason: str
    count: int
    left_alone: str  # why; "" where they will be changed

    @property
    def reason_label(self) -> str:
        known = {reason.value: reason.label for reason in Reason}
        return known.get(self.reason, self.reason)


def forecast(verb: str, rows: DeliveryQuerySet) -> list[Forecast]:
    """What "redrive" or "cancel" would do to *rows* now: those it changes first."""
    alike = Counter(rows.order_by().values_list("effect", "state", "reason"))
    told = [
        Forecast(effect, State(state), reason, count, LEFT_ALONE[verb].get(State(state), ""))
        for (effect, state, reason), count in alike.items()
    ]
    return sorted(told, key=lambda f: (bool(f.left_alone), f.effect, f.state, f.reason))


def of(using: str, ids: Iterable[int]) -> DeliveryQuerySet:
    return Delivery.objects.using(using).filter(pk__in=list(ids))
