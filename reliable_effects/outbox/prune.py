"""
Delete what ended well and is old: in small batches, never by age alone.

For an effect with an owed query that query is asked first, and what is still owed is kept: its row
is what proves that it was done. Poisoned and uncertain rows are deleted by people only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from time import monotonic
from typing import Any, TypeVar

from django.db import Error, transaction
from django.db.models import Model, Q, QuerySet

from ..clock import DbNow
from ..conf import settings
from ..effects.owed import OwedQuery
from ..effects.registry import registry
from .heartbeat import Swept
from .models import Attempt, Delivery, OutboxEvent
from .reconnect import mend
from .states import ENDED_WELL, Reason, State

logger = logging.getLogger("reliable_effects")

M = TypeVar("M", bound=Model)

_BATCH = 500  # rows in one transaction: a few milliseconds of locks
_BOUND = 2.0  # seconds for each table; the relay waits for it in the same thread

_left_off: dict[tuple[str, str], tuple[datetime, Any]] = {}  # where the last sweep was cut short


def prune(using: str) -> Swept:
    """One sweep: deliveries that ended well longer ago than `retention`, then events left bare."""
    swept = Swept()
    ended = _deliveries(using).only("effect", "event_id", "finished_at")
    for batch in _batches(ended, "finished_at", swept):
        swept.done += _delete(using, _owed_no_more(using, batch))
    old = OutboxEvent.objects.using(using).filter(emitted_at__lte=DbNow() - settings().retention)
    for events in _batches(old.only("emitted_at"), "emitted_at", swept):
        swept.done += _delete_bare(using, [event.pk for event in events])
    return swept


def forget() -> None:
    """For tests that empty the tables."""
    _left_off.clear()


def _deliveries(using: str) -> QuerySet[Delivery]:
    """What is old and ended well, as far as the row itself can say."""
    names = registry.effect_names()
    with_query = [name for name in names if registry.effect(name).owed_query is not None]
    return Delivery.objects.using(using).filter(
        # What expired, or was skipped by its effect, did not happen: it is not ours to forget. Nor
        # is what a person cancelled, where reconcile might find it owed and promise it again.
        Q(state=State.SUCCEEDED)
        | Q(state=State.SKIPPED, reason=Reason.NOT_NEEDED)
        | Q(state=State.CANCELLED) & ~Q(effect__in=with_query),
        state__in=ENDED_WELL,  # as the index says it
        finished_at__lte=DbNow() - settings().retention,
        effect__in=names,  # nobody here can say what others owe
    )


def _batches(rows: QuerySet[M], instant: str, swept: Swept) -> Iterator[list[M]]:
    """
    *rows* in the order of (*instant*, pk), each read once however many are kept.

    When the time is over it notes where it is, and the next sweep of this process goes on there.
    """
    place = (rows.db, instant)
    after = _left_off.pop(place, None)
    bound = monotonic() + _BOUND
    while monotonic() < bound:
        following = rows
        if after is not None:
            following = rows.filter(**{f"{instant}__gte": after[0]}).exclude(
                **{instant: after[0], "pk__lte": after[1]}
            )
        batch = list(following.order_by(instant, "pk")[:_BATCH])
        if not batch:
            return
        swept.seen += len(batch)
        yield batch
        after = (getattr(batch[-1], instant), batch[-1].pk)
    if after is not None:
        _left_off[place] = after
    swept.truncated = True


def _owed_no_more(using: str, batch: Sequence[Delivery]) -> list[Delivery]:
    """Those of *batch* whose effect has no owed query, or whose subject it does not name."""
    by_effect: dict[str, list[Delivery]] = {}
    for row in batch:
        by_effect.setdefault(row.effect, []).append(row)
    free: list[Delivery] = []
    for name, rows in by_effect.items():
        owed = registry.effect(name).owed_query
        try:
            free += rows if owed is None else _not_owing(using, owed, rows)
        except Exception:
            # A project's own query. Whatever it raises, the rows of other effects may go.
            logger.exception("the owed query of %s failed; its rows are kept", name)
            mend(using)
    return free


def _not_owing(using: str, owed: OwedQuery, rows: Sequence[Delivery]) -> list[Delivery]:
    events = OutboxEvent.objects.using(using).filter(pk__in=[row.event_id for row in rows])
    subjects = dict(events.values_list("pk", "subject_pk"))
    owing = owed.query().using(using).filter(pk__in=list(subjects.values()))
    kept = {str(pk) for pk in owing.values_list("pk", flat=True)}
    return [r for r in rows if r.event_id in subjects and subjects[r.event_id] not in kept]


def _delete(using: str, rows: Sequence[Delivery]) -> int:
    """Delete *rows* and their events where nothing else depends on those; how many rows."""
    if not rows:
        return 0
    try:
        with transaction.atomic(using=using):
            # Asked again: a debt may have been promised again since it was read, and then its end
            # is another. Not by the state: with one, the index of all that may go is walked.
            ended = {row.pk: row.finished_at for row in rows}
            found = Delivery.objects.using(using).filter(pk__in=list(ended))
            locked = found.select_for_update(skip_locked=True).order_by("pk")
            now = locked.values_list("pk", "finished_at")
            ids = [pk for pk, finished_at in now if finished_at == ended[pk]]
            Attempt.objects.using(using).filter(delivery_id__in=ids).delete()
            Delivery.objects.using(using).filter(pk__in=ids).delete()
        _delete_bare(using, {row.event_id for row in rows})
    except Error:
        mend(using)
        if len(rows) > 1:  # one of them cannot be deleted: the others can
            return sum(_delete(using, [row]) for row in rows)
        logger.exception("could not prune delivery %d; the others go on", rows[0].pk)
        return 0
    return len(ids)


def _delete_bare(using: str, event_ids: Iterable[Any]) -> int:
    bare = OutboxEvent.objects.using(using).filter(pk__in=list(event_ids), deliveries=None)
    return bare.delete()[0]
