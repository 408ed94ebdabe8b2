"""
What each owing row is found to be, by the delivery that stands under its debt's key.

Reads only. Between the question and the answer a worker may have paid: what seems to have succeeded
and to be owed all the same is asked for once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Case, Exists, F, OuterRef, Q, Value, When

from ..clock import in_utc
from ..effects.effect import Effect
from ..effects.keys import delivery_key
from ..effects.owed import ONCE
from ..outbox.models import Delivery, DeliveryQuerySet, OutboxEvent
from ..outbox.states import Reason, State
from .findings import Finding
from .models import instant_of
from .owing import Owing, ask_again, query_of

# Keys looked for in one statement. For thousands PostgreSQL reads the whole table, and MariaDB
# makes a table of them (in_predicate_conversion_threshold).
_PROBE = 500
_NO_KEY = UUID(int=0)  # under which nothing stands


class Standing(NamedTuple):
    """As much of a delivery as is needed to judge it, and to guard what is done to it."""

    pk: int
    key: UUID
    state: State
    reason: str
    finished_at: datetime | None  # not read of what is set aside, but where it may be adopted
    notes: Any
    event_id: UUID
    has_event: bool


class Found(NamedTuple):
    owing: Owing
    finding: Finding
    delivery: Standing | None = None


def classify(effect: Effect[Any, Any], using: str, chunk: Sequence[Owing]) -> list[Found]:
    """What each of *chunk* is, in its order."""
    by_key = _under_keys(using, chunk)
    strays = [owing for owing in chunk if owing.key is not None and owing.key not in by_key]
    adopted = adoptable(effect, using, strays)
    found = [
        _judge(owing, by_key.get(owing.key or _NO_KEY) or adopted.get(owing.pk)) for owing in chunk
    ]
    return _asked_again(effect, using, found)


def adoptable(effect: Effect[Any, Any], using: str, strays: Sequence[Owing]) -> dict[str, Standing]:
    """
    Deliveries for *strays* from before the effect had an owed query, by the subject's key.

    They stand under the key of their event. Where a subject has several debts, one that ended
    before the debt began was for another.
    """
    if not strays:
        return {}
    subjects = {owing.pk: owing for owing in strays}
    event = effect.event
    rows = Delivery.objects.using(using).filter(
        effect__in=(effect.name, *effect.aliases),
        event__subject_model__in=(event.subject_label, *event.subject_aliases),
        event__subject_pk__in=list(subjects),
    )
    pks = dict(rows.values_list("pk", "event__subject_pk"))
    best: dict[str, Standing] = {}
    for row in _standing(rows, when_ended=F("finished_at")):
        pk = pks.get(row.pk)
        # A collation may take two keys for one; and whose key is not its event's is under a debt.
        if pk not in subjects or row.key != delivery_key(row.event_id, effect.identity):
            continue
        if query_of(effect).debt is not ONCE and _ended_before(row, subjects[pk].since):
            continue
        if pk not in best or _precedence(row) > _precedence(best[pk]):
            best[pk] = row
    return best


def _under_keys(using: str, chunk: Iterable[Owing]) -> dict[UUID, Standing]:
    keys = [owing.key for owing in chunk if owing.key is not None]
    rows = Delivery.objects.using(using)
    return {
        row.key: row
        for start in range(0, len(keys), _PROBE)
        for row in _standing(rows.filter(key__in=keys[start : start + _PROBE]))
    }


def _standing(rows: DeliveryQuerySet, *, when_ended: Any = None) -> Iterable[Standing]:
    event = OutboxEvent.objects.using(rows.db).filter(pk=OuterRef("event_id"))
    # Looked for where its loss is ours to mend: each look is a second probe of an index.
    has_event = Case(When(_NEEDS_EVENT, then=Exists(event)), default=Value(True))
    # Instants cost more to read than all other columns; of what is set aside nobody asks for it.
    ended = when_ended or Case(When(~Q(state=State.POISONED), then=F("finished_at")))
    columns = rows.annotate(has_event=has_event, ended=ended).values_list(
        "pk", "key", "state", "reason", "ended", "notes", "event_id", "has_event"
    )
    for pk, key, state, reason, finished_at, notes, event_id, has_event in columns:
        yield Standing(pk, key, State(state), reason, finished_at, notes, event_id, bool(has_event))


def _judge(owing: Owing, row: Standing | None) -> Found:  # one for each kind
    if owing.key is None:
        return Found(owing, Finding.UNREADABLE)
    if row is None:
        return Found(owing, Finding.UNACCOUNTED)
    if not row.has_event:
        return Found(owing, Finding.ORPHANED, row)
    if row.state == State.SKIPPED and row.reason == Reason.NOT_NEEDED:
        return Found(owing, Finding.OWED_AGAIN, row)
    return Found(owing, _BY_STATE[row.state], row)


# What has ended needs none; but without it nothing can run, and what tried is found unreadable.
_NEEDS_EVENT = Q(state__in=(State.PENDING, State.RUNNING, State.UNCERTAIN)) | Q(
    state=State.POISONED, reason=Reason.UNREADABLE
)

_BY_STATE = {
    State.PENDING: Finding.WAITING,
    State.RUNNING: Finding.UNDER_WAY,
    State.SUCCEEDED: Finding.CONTRADICTION,
    State.SKIPPED: Finding.SKIPPED,
    State.CANCELLED: Finding.CANCELLED,
    State.UNCERTAIN: Finding.UNCERTAIN,
    State.POISONED: Finding.POISONED,
}


def _asked_again(effect: Effect[Any, Any], using: str, found: list[Found]) -> list[Found]:
    suspects = [f.owing.pk for f in found if f.finding is Finding.CONTRADICTION]
    if not suspects:
        return found
    still = ask_again(effect, using, suspects)
    return [
        Found(f.owing, Finding.DONE_LATE, f.delivery)
        if f.finding is Finding.CONTRADICTION and f.owing.pk not in still
        else f
        for f in found
    ]


def _ended_before(row: Standing, since: Any) -> bool:
    began = instant_of(since)
    return row.finished_at is not None and began is not None and in_utc(row.finished_at) < began


def _precedence(row: Standing) -> tuple[bool, float]:
    """Of several: one that may still run before any that has ended, else the one that ended last."""
    may_run = row.state in (State.PENDING, State.RUNNING, State.UNCERTAIN)
    return may_run, row.finished_at.timestamp() if row.finished_at else float(row.pk)
