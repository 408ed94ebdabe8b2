"""
Do what is missing: promise what nobody promised, and reopen what is owed all the same.

Each batch is one transaction in which the owed query is asked once more, and every write is guarded
by what was read. So two reconcilers, or one that was killed midway, do it once. What a person has
decided is not touched, and no event is fanned out again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import F, Model

from ..clock import DbNow, in_utc, read_clock
from ..conf import settings
from ..effects.effect import Effect
from ..effects.keys import new_event_id
from ..effects.payloads import BLANKED
from ..outbox import tell
from ..outbox.insert import insert_where_free
from ..outbox.models import Delivery, OutboxEvent
from ..outbox.reconnect import mend as mend_connection
from ..outbox.states import Flag, Notes, Reason, State, noted
from .classify import Found, Standing
from .findings import Finding
from .models import RESTS
from .owing import ask_again, query_of

logger = logging.getLogger("reliable_effects")

_BATCH = 200  # rows in one transaction
_LONG_AGO = datetime.min.replace(tzinfo=UTC)

Change = Callable[[Effect[Any, Any], str, Sequence[Found], dict[str, Model]], list[Found]]


def promise_missing(effect: Effect[Any, Any], using: str, missing: Sequence[Found]) -> list[Found]:
    """Owe each of *missing* under its debt's own key; which were written."""
    return _in_batches(_promise, effect, using, missing)


def give_events(effect: Effect[Any, Any], using: str, orphans: Sequence[Found]) -> list[Found]:
    """Put an event under each delivery that has lost its own; which were changed."""
    return _in_batches(_give_events, effect, using, orphans)


def reopen(effect: Effect[Any, Any], using: str, ended: Sequence[Found]) -> list[Found]:
    """Run again, under their keys, what ended and is still owed; which were changed."""
    return _in_batches(_reopen, effect, using, ended)


def ripeness(effect: Effect[Any, Any], using: str) -> Callable[[Found], bool]:
    """Whether something is to be done about a finding now. One question to the clock for many."""
    now = read_clock(using)
    reopens = query_of(effect).reopen

    def is_ripe(found: Found) -> bool:
        match found.finding:
            case Finding.UNACCOUNTED | Finding.ORPHANED:
                return True
            case Finding.OWED_AGAIN:
                return now - _ended(found) >= _rest(found, free=1)
            case Finding.CONTRADICTION:
                return reopens and now - _ended(found) >= _rest(found, free=0)
            case _:
                return False

    return is_ripe


def _ended(found: Found) -> datetime:
    return in_utc(_row(found).finished_at or _LONG_AGO)


def _rest(found: Found, *, free: int) -> timedelta:
    """How long it rests. The first *free* times nobody waits, and what comes after all is at once."""
    times = int(noted(_row(found).notes, Notes.REOPENED)) - free
    if times < 0:
        return timedelta(0)
    if found.finding is Finding.CONTRADICTION and times >= len(RESTS):
        return timedelta(0)  # to be set aside
    return RESTS[min(times, len(RESTS) - 1)]


def _row(found: Found) -> Standing:
    if found.delivery is None:
        raise ValueError(f"{found} has no delivery.")
    return found.delivery


def _in_batches(
    change: Change, effect: Effect[Any, Any], using: str, found: Sequence[Found]
) -> list[Found]:
    changed: list[Found] = []
    for start in range(0, len(found), _BATCH):
        changed += _in_one(change, effect, using, found[start : start + _BATCH])
    return changed


def _in_one(
    change: Change, effect: Effect[Any, Any], using: str, batch: Sequence[Found]
) -> list[Found]:
    try:
        with transaction.atomic(using=using):
            still = ask_again(effect, using, [found.owing.pk for found in batch])
            return change(effect, using, [f for f in batch if f.owing.pk in still], still)
    except Exception:  # payload= and the query are the project's, and one row may be refused
        mend_connection(using)
        if len(batch) > 1:
            return [done for found in batch for done in _in_one(change, effect, using, [found])]
        logger.exception(
            "could not mend what %s owes to %s; the others go on", effect.name, batch[0].owing.pk
        )
        return []


def _promise(
    effect: Effect[Any, Any], using: str, missing: Sequence[Found], still: dict[str, Model]
) -> list[Found]:
    # Its debt may be another by now: then this one is not owed, and the next walk finds that one.
    owed = query_of(effect)
    debts = {
        effect.debt_key_of(owed.debt_of(still[found.owing.pk]), found.owing.pk): found
        for found in missing
    }
    rows = Delivery.objects.using(using).filter(key__in=list(debts))
    standing = set(rows.values_list("key", flat=True))  # promised since it was looked for
    wanted = {
        key: found for key, found in debts.items() if key == found.owing.key and key not in standing
    }
    events = _events_for(effect, using, list(wanted.values()), still)
    can_verify = effect.verify is not None
    insert_where_free(
        using,
        [
            Delivery(
                event_id=events[found.owing.pk],
                effect=effect.name,
                key=key,
                queue=effect.queue,
                # Somebody may have paid it already, and only our row of that is lost.
                state=State.UNCERTAIN if can_verify else State.PENDING,
                flags=Flag.VERIFIABLE if can_verify else 0,
                look_at=DbNow(),
            )
            for key, found in wanted.items()
        ],
    )
    written = dict(rows.values_list("key", "event_id"))
    return [found for key, found in wanted.items() if written.get(key) == events[found.owing.pk]]


def _give_events(
    effect: Effect[Any, Any], using: str, orphans: Sequence[Found], still: dict[str, Model]
) -> list[Found]:
    events = _events_for(effect, using, orphans, still)
    again = State.PENDING if effect.verify is None else State.UNCERTAIN
    changed = []
    for found in _free(using, orphans):
        row = _row(found)
        values: dict[str, Any] = {"event_id": events[found.owing.pk]}
        if row.state == State.POISONED:  # as unreadable, because its event was lost
            values |= _anew(row) | {"state": again}
        guarded = Delivery.objects.using(using).filter(
            pk=row.pk, state=row.state, reason=row.reason, event_id=row.event_id
        )
        if guarded.update(**values) == 1:
            changed.append(found)
    return changed


def _reopen(
    effect: Effect[Any, Any],
    using: str,
    ended: Sequence[Found],
    still: dict[str, Model],  # noqa: ARG001  # asked again: that they are here is the answer
) -> list[Found]:
    changed = []
    for found in _free(using, ended):
        row = _row(found)
        reopened = int(noted(row.notes, Notes.REOPENED))
        values = _anew(row) | {"state": State.PENDING}
        if row.state == State.SUCCEEDED and reopened >= len(RESTS):
            values = {
                "reason": Reason.STILL_OWED,
                "finished_at": DbNow(),
                "state": State.POISONED,
            }
        elif row.state == State.SUCCEEDED and effect.verify is not None:
            values |= {
                "flags": F("flags").bitor(Flag.VERIFIABLE),
                "state": State.UNCERTAIN,
            }
        guarded = Delivery.objects.using(using).filter(
            pk=row.pk, state=row.state, reason=row.reason, finished_at=row.finished_at
        )
        if guarded.update(**values) == 1:
            changed.append(found)
            if values["state"] == State.POISONED:
                told = partial(
                    tell.poisoned, effect.name, effect, Reason.STILL_OWED,
                    delivery_id=row.pk, key=row.key, using=using,
                )  # fmt: skip
                transaction.on_commit(told, using=using, robust=True)
    return changed


def _free(using: str, found: Sequence[Found]) -> list[Found]:
    """Those whose rows nobody holds: who does is at work on one, and none is waited for."""
    rows = Delivery.objects.using(using).filter(pk__in=[_row(each).pk for each in found])
    locked = rows.select_for_update(skip_locked=True).order_by("pk")
    free = set(locked.values_list("pk", flat=True))
    return [each for each in found if _row(each).pk in free]


def _anew(row: Standing) -> dict[str, Any]:
    """A new round under the same key; `state` comes last, as MariaDB sets in order."""
    return {
        "attempts": 0,
        "hints": 0,
        "due_at": DbNow(),
        "look_at": DbNow(),
        "finished_at": None,
        "reason": "",
        "notes": {
            Notes.ROUND: int(noted(row.notes, Notes.ROUND)) + 1,
            Notes.REOPENED: int(noted(row.notes, Notes.REOPENED)) + 1,
        },
    }


def _events_for(
    effect: Effect[Any, Any], using: str, found: Sequence[Found], subjects: dict[str, Model]
) -> dict[str, UUID]:
    """The newest event of each subject; where it has none any more, one that is made up now."""
    event = effect.event
    rows = (
        OutboxEvent.objects.using(using)
        .filter(
            subject_model__in=(event.subject_label, *event.subject_aliases),
            subject_pk__in=[each.owing.pk for each in found],
            name__in={event.name, *event.aliases, effect.name, *effect.aliases},
        )
        .exclude(version=BLANKED)
    )  # its payload was forgotten at somebody's request
    newest = dict(rows.order_by("emitted_at", "pk").values_list("subject_pk", "pk"))
    lost = [each.owing.pk for each in found if each.owing.pk not in newest]
    made = [_made_up(effect, pk, subjects[pk]) for pk in lost]
    OutboxEvent.objects.using(using).bulk_create(made)
    return newest | {row.subject_pk: row.pk for row in made}


def _made_up(effect: Effect[Any, Any], pk: str, subject: Model) -> OutboxEvent:
    event, owed = effect.event, query_of(effect)
    payload = owed.payload(subject) if owed.payload is not None else None
    return OutboxEvent(
        id=new_event_id(),
        name=event.name,
        version=event.version,
        subject_model=event.subject_label,
        subject_pk=pk,
        payload=json.loads(event.codec.dump(payload, settings().payload_limit)),
        correlation=uuid4(),
        source="reconcile",
    )
