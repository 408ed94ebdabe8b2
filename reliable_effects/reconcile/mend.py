"""
Do what is missing: promise what nobody promised, and reopen what is owed all the same.

Each batch is one transaction in which the owed query is asked once more, and every write is guarded
by what was read. So two reconcilers, or one that was killed midway, do it once. What a person has
decided is not touched, and no event is fanned out again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import F, Model

from ..clock import DbNow, in_utc, read_clock
from ..effects.effect import Effect
from ..effects.payloads import BLANKED
from ..outbox import tell
from ..outbox.insert import insert_where_free
from ..outbox.models import Delivery, OutboxEvent
from ..outbox.reconnect import mend as mend_connection
from ..outbox.states import Flag, Notes, Reason, State, noted, noted_edit
from .classify import Found, Standing
from .events import events_for, unexpired
from .findings import Finding
from .models import RESTS
from .owing import ask_again, query_of

logger = logging.getLogger("reliable_effects")

_BATCH = 200  # rows in one transaction
_NAMED = 5  # subjects in a log line
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
                return now - _ended(found) >= _rest(found)
            case Finding.CONTRADICTION:
                return reopens and now - _ended(found) >= _rest(found)
            case _:
                return False

    return is_ripe


def _ended(found: Found) -> datetime:
    return in_utc(_row(found).finished_at or _LONG_AGO)


def _rest(found: Found) -> timedelta:
    """How long it rests after its end, before something is done about it."""
    notes = _row(found).notes
    if found.finding is Finding.CONTRADICTION:
        times = int(noted(notes, Notes.REOPENED))
        return RESTS[times] if times < len(RESTS) else timedelta(0)  # to be set aside
    times = int(noted(notes, Notes.OWED_AGAIN))  # the first time nobody waits
    return RESTS[min(times, len(RESTS)) - 1] if times else timedelta(0)


def _row(found: Found) -> Standing:
    if found.delivery is None:
        raise ValueError(f"{found} has no delivery.")
    return found.delivery


def _in_batches(
    change: Change, effect: Effect[Any, Any], using: str, found: Sequence[Found]
) -> list[Found]:
    changed: list[Found] = []
    failures: list[tuple[Found, Exception]] = []
    for start in range(0, len(found), _BATCH):
        changed += _in_one(change, effect, using, found[start : start + _BATCH], failures)
    if failures:  # there may be thousands: one traceback will do
        some = ", ".join(each.owing.pk for each, _ in failures[:_NAMED])
        logger.error(
            "could not mend what %s owes to %d, among them %s; the others go on",
            effect.name, len(failures), some, exc_info=failures[0][1],
        )  # fmt: skip
    return changed


def _in_one(
    change: Change,
    effect: Effect[Any, Any],
    using: str,
    batch: Sequence[Found],
    failures: list[tuple[Found, Exception]],
) -> list[Found]:
    try:
        with transaction.atomic(using=using):
            still = ask_again(effect, using, [found.owing.pk for found in batch])
            return change(effect, using, [f for f in batch if f.owing.pk in still], still)
    except Exception as error:  # noqa: BLE001  # payload= and the query are the project's
        mend_connection(using)
        if len(batch) > 1:
            return [
                done
                for found in batch
                for done in _in_one(change, effect, using, [found], failures)
            ]
        failures.append((batch[0], error))
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
    events = events_for(effect, using, list(wanted.values()), still)
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
    free = _free(using, orphans)
    events = events_for(effect, using, free, still)
    again = State.PENDING if effect.verify is None else State.UNCERTAIN
    changed = []
    for found in free:
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
    effect: Effect[Any, Any], using: str, ended: Sequence[Found], still: dict[str, Model]
) -> list[Found]:
    free = _free(using, ended)
    events = events_for(effect, using, _without_use(effect, using, free), still)
    changed = []
    for found in free:
        row = _row(found)
        values = _values(effect, row) | (
            {"event_id": events[found.owing.pk]} if found.owing.pk in events else {}
        )
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


def _values(effect: Effect[Any, Any], row: Standing) -> dict[str, Any]:
    """What becomes of what ended and is still owed; `state` comes last, as MariaDB sets in order."""
    if row.state != State.SUCCEEDED:
        return _anew(row, Notes.OWED_AGAIN) | {"state": State.PENDING}
    if noted(row.notes, Notes.REOPENED) >= len(RESTS):
        ended = {"reason": Reason.STILL_OWED, "fingerprint": "", "finished_at": DbNow()}
        return ended | {"state": State.POISONED}
    values = _anew(row, Notes.REOPENED)
    if effect.verify is None:
        return values | {"state": State.PENDING}
    flags = F("flags").bitor(Flag.VERIFIABLE)
    return values | {"flags": flags, "state": State.UNCERTAIN}


def _without_use(effect: Effect[Any, Any], using: str, found: Sequence[Found]) -> list[Found]:
    """Those whose event is of no use any more: lost, forgotten, or older than the effect allows."""
    ids = {_row(each).event_id for each in found}
    events = OutboxEvent.objects.using(using).filter(pk__in=ids).exclude(version=BLANKED)
    useful = set(unexpired(effect, using, events).values_list("pk", flat=True))
    return [each for each in found if _row(each).event_id not in useful]


def _free(using: str, found: Sequence[Found]) -> list[Found]:
    """Those whose rows nobody holds: who does is at work on one, and none is waited for."""
    rows = Delivery.objects.using(using).filter(pk__in=[_row(each).pk for each in found])
    locked = rows.select_for_update(skip_locked=True).order_by("pk")
    free = set(locked.values_list("pk", flat=True))
    return [each for each in found if _row(each).pk in free]


def _anew(row: Standing, counter: str = "") -> dict[str, Any]:
    """A new round under the same key; *counter* counts why."""
    known = {name: int(noted(row.notes, name)) for name in (Notes.REOPENED, Notes.OWED_AGAIN)}
    notes = {name: times for name, times in known.items() if times}
    notes[Notes.ROUND] = int(noted(row.notes, Notes.ROUND)) + 1
    if (edit := noted_edit(row.notes)) is not None:
        notes[Notes.EDIT] = edit  # what a person has corrected does not run as it was
    if counter:
        notes[counter] = known[counter] + 1
    return {
        "attempts": 0,
        "hints": 0,
        "due_at": DbNow(),
        "look_at": DbNow(),
        "finished_at": None,
        "reason": "",
        "fingerprint": "",
        "notes": notes,
    }
