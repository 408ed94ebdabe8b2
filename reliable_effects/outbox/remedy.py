"""
What a person may do to a delivery: redrive it, give it up, settle what nobody knew, begin it anew.
The same row, guarded, never deleted.

All take a batch at a time, go on after a bad row, and say which they changed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2s
from itertools import islice
from typing import Any, TypeVar

from django.db import Error, connections, transaction
from django.db.models import F, QuerySet
from django.dispatch import Signal

from .. import signals
from ..clock import DbNow
from ..effects.registry import registry
from .evidence import surely_did_not_happen
from .models import Delivery, DeliveryQuerySet
from .reconnect import mend
from .states import (
    ANEW,
    CANCELLABLE,
    REDRIVABLE,
    SETTLEABLE,
    WAITING,
    Notes,
    Reason,
    State,
    finding,
    noted,
    noted_edit,
)

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
    _tell(signals.delivery_redriven, rows.db, changed, by=by, why=why)
    return changed


def cancel(rows: DeliveryQuerySet, *, by: str, why: str) -> list[Delivery]:
    """Give *rows* up. What runs is left alone: nobody can call it back. Gives what was changed."""
    rows = on_writer(rows).filter(state__in=CANCELLABLE)
    return _change(rows, "cancelled", _cancelled, by, why)


def settle(rows: DeliveryQuerySet, *, happened: bool, by: str, why: str) -> list[Delivery]:
    """
    Say what became of uncertain *rows*: somebody has looked. Gives what was changed.

    It happened: SUCCEEDED. It did not: due now, with all attempts, under the keys they have; what
    may have been sent before is taken for not sent.
    """
    rows = on_writer(rows).filter(state__in=SETTLEABLE)
    values = _succeeded if happened else _denied
    verb = "settled as happened" if happened else "settled as not happened"
    changed = _change(rows, verb, values, by, why)
    _tell(signals.delivery_settled, rows.db, changed, happened=happened, by=by, why=why)
    return changed


def start_anew(
    rows: DeliveryQuerySet, *, by: str, why: str, did_not_happen: bool = False
) -> list[Delivery]:
    """
    Run *rows* under new keys: partners take them for something else than what they knew before.

    Only what surely did not happen: what `verify` or a person has found so and has not run since,
    and what no partner can have carried out. `did_not_happen` is a person's word for the others.
    Gives what was changed.
    """
    rows = on_writer(rows).filter(state__in=ANEW)
    allowed = None if did_not_happen else surely_did_not_happen
    changed = _change(rows, "started anew", _anew, by, why, allowed=allowed)
    _tell(signals.delivery_redriven, rows.db, changed, by=by, why=why)
    return changed


def on_writer(rows: Rows) -> Rows:
    """
    *rows* in the database in which they can be changed.

    A router may read them from a replica; it is asked for its writer, but where they name a
    database themselves.
    """
    found: Any = rows.all()
    found._for_write = True  # noqa: SLF001  # as Django's own update() and delete() do
    return found.using(found.db)  # type: ignore[no-any-return]  # see above


Allowed = Callable[[Sequence[Delivery]], set[int]]
Values = dict[str, Any]
Lasting = tuple[tuple[str, int], ...]
"""The notes that outlive a remedy."""

_LASTING = (Notes.ROUND, Notes.DENIED, Notes.ABSENT)


def _lasting(row: Delivery) -> Lasting:
    kept = ((name, int(noted(row.notes, name))) for name in _LASTING)
    edit = noted_edit(row.notes)
    edits = () if edit is None else ((Notes.EDIT, edit),)
    return (*((name, number) for name, number in kept if number), *edits)


def _redriven(state: State, lasting: Lasting) -> Values:
    notes = dict(lasting)
    if state not in WAITING:  # an ended row begins a new round: its emits are new
        notes[Notes.ROUND] = notes.get(Notes.ROUND, 0) + 1
    return {
        "attempts": 0,
        "hints": 0,
        "due_at": DbNow(),
        "look_at": DbNow(),
        "finished_at": None,
        "reason": "",
        "fingerprint": "",
        "notes": notes or None,
        "state": State.PENDING,
    }


def _cancelled(_state: State, _lasting: Lasting) -> Values:
    return {
        "look_at": None,
        "reason": "",
        "fingerprint": "",
        "finished_at": DbNow(),
        "state": State.CANCELLED,
    }


def _succeeded(_state: State, _lasting: Lasting) -> Values:
    return {"look_at": None, "reason": "", "finished_at": DbNow(), "state": State.SUCCEEDED}


def _denied(state: State, lasting: Lasting) -> Values:
    return _redriven(state, (*lasting, *finding().items()))


def _anew(state: State, lasting: Lasting) -> Values:
    # What was found was found of the key before; under the new one nothing has been sent.
    kept = tuple((name, n) for name, n in lasting if name in (Notes.ROUND, Notes.EDIT))
    return _redriven(state, kept) | {"generation": F("generation") + 1}


def values_with_edit(row: Delivery, edit: int, *, anew: bool) -> Values:
    """What a redrive of *row* writes, or its start *anew*, with the payload of *edit* in force."""
    values = (_anew if anew else _redriven)(State(row.state), _lasting(row))
    return values | {"notes": {**(values["notes"] or {}), Notes.EDIT: edit}}


def tell_redriven(using: str, changed: Iterable[Delivery], *, by: str, why: str) -> None:
    """The signal, for a remedy of another module that is a redrive too."""
    _tell(signals.delivery_redriven, using, changed, by=by, why=why)


def _change(
    rows: DeliveryQuerySet,
    verb: str,
    values: Callable[[State, Lasting], Values],
    by: str,
    why: str,
    *,
    allowed: Allowed | None = None,
) -> list[Delivery]:
    """Change *rows* a batch at a time, those together that get the same values."""
    # Not iterator(): behind a pooler (PgBouncer) its cursor may be on another's connection.
    found = iter(rows)
    changed: list[Delivery] = []
    while batch := list(islice(found, _BATCH)):
        alike: dict[tuple[State, Lasting], list[Delivery]] = {}
        for row in batch:
            alike.setdefault((State(row.state), _lasting(row)), []).append(row)
        for (state, lasting), same in alike.items():
            changed += _change_alike(rows.db, same, state, values(state, lasting), allowed)
    for row in changed:
        logger.info("%s %s delivery=%d by=%r why=%r", verb, row.effect, row.pk, by, why)
    return changed


def _change_alike(
    using: str, rows: list[Delivery], state: State, values: Values, allowed: Allowed | None
) -> list[Delivery]:
    """
    One guarded UPDATE: only from the state that was read, only while nobody runs them, and only
    what is *allowed* under its lock.

    Where the database refuses, one at a time, so that a bad row stays behind alone.
    """
    free = Delivery.objects.using(using).filter(state=state, claim_token=None)
    in_a_block = connections[using].in_atomic_block
    try:
        # A savepoint where the caller has a transaction open: else an error would spoil it.
        with transaction.atomic(using=using):
            locked = free.filter(pk__in=[row.pk for row in rows]).select_for_update().order_by("pk")
            if allowed is None:
                won = set(locked.values_list("pk", flat=True))
            else:
                won = allowed(list(locked))
            free.filter(pk__in=won).update(**values)
    except Error:
        if not in_a_block:  # else it is the caller's, and the savepoint has mended it
            mend(using)
        if len(rows) > 1:
            each_alone = (_change_alike(using, [row], state, values, allowed) for row in rows)
            return [row for changed in each_alone for row in changed]
        logger.exception("delivery %d could not be changed; the others go on", rows[0].pk)
        return []
    return [row for row in rows if row.pk in won]


def _tell(signal: Signal, using: str, changed: Iterable[Delivery], **facts: Any) -> None:
    for row in changed:
        told = partial(
            signal.send_robust,
            registry.find_effect(row.effect),
            delivery_id=row.pk,
            key=row.key,
            using=using,
            **facts,
        )
        # At once, but for callers with a transaction of their own, who may still take it back.
        transaction.on_commit(told, using=using, robust=True)


# How rows stood when somebody was asked about them

STANDS_BY = ("state", "generation", "attempts", "due_at", "finished_at", "notes")
"""All columns of a delivery that a remedy, or a run, changes."""


def stamp_of(stood: Iterable[Any]) -> str:
    """Another one says that a row stands otherwise than it was shown."""
    return blake2s(repr(list(stood)).encode(), digest_size=8).hexdigest()


# What will be done, said beforehand

HAPPENED, NOT_HAPPENED, START_ANEW = "settle_happened", "settle_not_happened", "start_anew"

ALLOWED = {
    "redrive": REDRIVABLE,
    "cancel": CANCELLABLE,
    HAPPENED: SETTLEABLE,
    NOT_HAPPENED: SETTLEABLE,
    START_ANEW: ANEW,
}

_NOT_UNCERTAIN = {
    State.PENDING: "it waits to be run, and nothing is uncertain about it",
    State.RUNNING: "a worker is running it",
    State.SUCCEEDED: "it happened",
    State.SKIPPED: "it has ended without acting",
    State.CANCELLED: "it is cancelled",
    State.POISONED: "it failed; redrive it, or cancel it",
}
NEEDS_A_WORD = "it may have happened; only somebody who has looked can start it anew"

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
    HAPPENED: _NOT_UNCERTAIN,
    NOT_HAPPENED: _NOT_UNCERTAIN,
    START_ANEW: {
        State.RUNNING: "a worker is running it",
        State.SUCCEEDED: "it happened",
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


def forecast(verb: str, rows: DeliveryQuerySet, *, did_not_happen: bool = False) -> list[Forecast]:
    """What a verb of ALLOWED would do to *rows* now: those it changes first."""
    if verb == START_ANEW and not did_not_happen:
        alike = _alike_by_evidence(rows)
    else:
        found = rows.order_by().values_list("effect", "state", "reason")
        alike = Counter((*row, LEFT_ALONE[verb].get(State(row[1]), "")) for row in found)
    told = [
        Forecast(effect, State(state), reason, count, left_alone)
        for (effect, state, reason, left_alone), count in alike.items()
    ]
    return sorted(told, key=lambda f: (bool(f.left_alone), f.effect, f.state, f.reason))


def _alike_by_evidence(rows: DeliveryQuerySet) -> Counter[tuple[str, int, str, str]]:
    alike: Counter[tuple[str, int, str, str]] = Counter()
    found = iter(rows)
    while batch := list(islice(found, _BATCH)):
        surely = surely_did_not_happen(batch)
        for row in batch:
            why = LEFT_ALONE[START_ANEW].get(State(row.state), "")
            left_alone = why or ("" if row.pk in surely else NEEDS_A_WORD)
            alike[row.effect, row.state, row.reason, left_alone] += 1
    return alike


def of(using: str, ids: Iterable[int]) -> DeliveryQuerySet:
    return Delivery.objects.using(using).filter(pk__in=list(ids))


def as_deliveries(rows: QuerySet[Any]) -> DeliveryQuerySet:
    """What an admin's queryset is; its own type does not say so."""
    return rows  # type: ignore[return-value]  # our manager's
