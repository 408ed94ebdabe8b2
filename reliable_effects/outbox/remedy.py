"""
What a person may do to a delivery: redrive it, or give it up. The same row, guarded, never deleted.

Both take a batch at a time, go on after a bad row, and say which they changed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from django.db import Error, connections, transaction
from django.db.models import QuerySet

from .. import signals
from ..clock import DbNow
from ..effects.registry import registry
from .models import Delivery, DeliveryQuerySet
from .reconnect import mend
from .states import CANCELLABLE, REDRIVABLE, Notes, Reason, State, noted

logger = logging.getLogger("reliable_effects")

_BATCH = 500  # rows in one statement

Rows = TypeVar("Rows", bound="QuerySet[Any]")


def redrive(rows: DeliveryQuerySet, *, by: str, why: str) -> list[Delivery]:
    """
    Run *rows* again under the keys they have: attempts from 0, due now.

    Those that wait, run or succeeded are left alone. *by* and *why* go to the log and the signal;
    the admin writes its own entry. Gives the rows that were changed.
    """
    rows = on_writer(rows)
    changed = _change(rows.filter(state__in=REDRIVABLE), "redriven", _redriven, by, why)
    for row in changed:
        told = partial(
            signals.delivery_redriven.send_robust,
            registry.find_effect(row.effect),
            delivery_id=row.pk,
            key=row.key,
            using=rows.db,
            by=by,
            why=why,
        )
        # At once, but for callers with a transaction of their own, who may still take it back.
        transaction.on_commit(told, using=rows.db, robust=True)
    return changed


def cancel(rows: DeliveryQuerySet, *, by: str, why: str) -> list[Delivery]:
    """Give *rows* up. What runs is left alone: nobody can call it back. Gives what was changed."""
    rows = on_writer(rows).filter(state__in=CANCELLABLE)
    return _change(rows, "cancelled", _cancelled, by, why)


def on_writer(rows: Rows) -> Rows:
    """
    *rows* in the database in which they can be changed.

    A router may read them from a replica; it is asked for its writer, but where they name a
    database themselves.
    """
    found: Any = rows.all()
    found._for_write = True  # noqa: SLF001  # as Django's own update() and delete() do
    return found.using(found.db)  # type: ignore[no-any-return]  # see above


Values = dict[str, Any]


def _redriven(state: State, round_: int) -> Values:
    if state != State.UNCERTAIN:  # an ended row begins a new round: its emits are new
        round_ += 1
    return {
        "attempts": 0,
        "hints": 0,
        "due_at": DbNow(),
        "look_at": DbNow(),
        "finished_at": None,
        "reason": "",
        "notes": {Notes.ROUND: round_} if round_ else None,
        "state": State.PENDING,
    }


def _cancelled(_state: State, _round: int) -> Values:
    return {"look_at": None, "reason": "", "finished_at": DbNow(), "state": State.CANCELLED}


def _change(
    rows: DeliveryQuerySet, verb: str, values: Callable[[State, int], Values], by: str, why: str
) -> list[Delivery]:
    """Change *rows* a batch at a time, those together that get the same values."""
    # Not iterator(): behind a pooler (PgBouncer) its cursor may be on another's connection.
    found = iter(rows)
    changed: list[Delivery] = []
    while batch := list(islice(found, _BATCH)):
        alike: dict[tuple[State, int], list[Delivery]] = {}
        for row in batch:
            kind = State(row.state), int(noted(row.notes, Notes.ROUND))
            alike.setdefault(kind, []).append(row)
        for (state, round_), same in alike.items():
            changed += _change_alike(rows.db, same, state, values(state, round_))
    for row in changed:
        logger.info("%s %s delivery=%d by=%r why=%r", verb, row.effect, row.pk, by, why)
    return changed


def _change_alike(using: str, rows: list[Delivery], state: State, values: Values) -> list[Delivery]:
    """
    One guarded UPDATE: only from the state that was read, and only while nobody runs them.

    Where the database refuses, one at a time, so that a bad row stays behind alone.
    """
    free = Delivery.objects.using(using).filter(state=state, claim_token=None)
    in_a_block = connections[using].in_atomic_block
    try:
        # A savepoint where the caller has a transaction open: else an error would spoil it.
        with transaction.atomic(using=using):
            locked = free.filter(pk__in=[row.pk for row in rows]).select_for_update()
            won = set(locked.order_by("pk").values_list("pk", flat=True))
            free.filter(pk__in=won).update(**values)
    except Error:
        if not in_a_block:  # else it is the caller's, and the savepoint has mended it
            mend(using)
        if len(rows) > 1:
            return [each for row in rows for each in _change_alike(using, [row], state, values)]
        logger.exception("delivery %d could not be changed; the others go on", rows[0].pk)
        return []
    return [row for row in rows if row.pk in won]


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
