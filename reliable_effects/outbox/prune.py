"""
Delete what has ended and is old: in small batches, never by age alone.

How long each is kept says `retention`. For an effect with an owed query that query is asked first,
and what is still owed is kept: its row is what proves that it was done. Uncertain rows are deleted
by nobody, and poisoned ones only where the project has set a span for them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from time import monotonic
from typing import Any, TypeVar

from django.db import Error, transaction
from django.db.models import Model, QuerySet

from ..clock import DbNow, in_utc, read_clock
from ..conf import settings
from ..effects.owed import OwedQuery
from ..effects.registry import registry
from .heartbeat import Swept
from .models import Attempt, Delivery, OutboxEvent
from .payloads import PayloadEdit
from .reconnect import mend
from .retention import kept_for, spans
from .states import ENDED_WELL, State

logger = logging.getLogger("reliable_effects")

M = TypeVar("M", bound=Model)

_BATCH = 500  # rows in one transaction: a few milliseconds of locks
_BOUND = 2.0  # seconds for each table; the relay waits for it in the same thread
_ANEW = 6 * 3600.0  # seconds between two looks at what was kept: it may be owed no more

_COLUMNS = ("effect", "event_id", "finished_at", "state", "reason")


@dataclass(slots=True)
class _Mark:
    """How far a walk has come: the last row's place in its order, and when it first saw the end."""

    after: tuple[Any, ...] | None = None
    seen_the_end: float | None = None  # by the monotonic clock


_marks: dict[tuple[str, str], _Mark] = {}


def prune(using: str) -> Swept:
    """One sweep: deliveries that ended longer ago than they are kept, then events left bare."""
    swept = Swept()
    walks = _walks(using)
    for walk in walks:
        for batch in _on_from_its_mark(walk, _BOUND / len(walks), swept):
            swept.done += _delete(using, _owed_no_more(using, walk.ripe(batch)))
    for events in _on_from_its_mark(_bare_events(using), _BOUND, swept):
        swept.done += _delete_bare(using, [event.pk for event in events])
    return swept


_others: list[Callable[[str, Collection[int]], None]] = []


def also(delete: Callable[[str, Collection[int]], None]) -> None:
    """Let a floor above delete its rows about deliveries, with these. `apps.ready()` calls it."""
    if delete not in _others:
        _others.append(delete)


def forget() -> None:
    """For tests that empty the tables."""
    _marks.clear()


# All of it, for people


@dataclass(slots=True)
class Pruned:
    """What was looked at, and what became of it; deliveries by (effect, state, reason)."""

    seen: int = 0
    deleted: Counter[tuple[str, State, str]] = field(default_factory=Counter)
    owed: Counter[tuple[str, State, str]] = field(default_factory=Counter)  # or nobody can say
    events: int = 0  # that nothing is owed for


def prune_all(using: str, *, dry_run: bool, tell: Callable[[Pruned], None]) -> Pruned:
    """Everything that a sweep would ever take, from the beginning; *tell* hears of each batch."""
    pruned = Pruned()
    for walk in _walks(using):
        for batch in walk.batches():
            ripe = walk.ripe(batch)
            free = _owed_no_more(using, ripe)
            gone = free if dry_run else _deleted(using, free)
            pruned.seen += len(batch)
            pruned.deleted.update(map(_kind, gone))
            freed = {row.pk for row in free}
            pruned.owed.update(_kind(row) for row in ripe if row.pk not in freed)
            tell(pruned)
    for events in _bare_events(using).batches():
        ids = [event.pk for event in events]
        bare = _bare(using, ids)
        pruned.seen += len(events)
        pruned.events += bare.count() if dry_run else _delete_bare(using, ids)
        tell(pruned)
    return pruned


def _kind(row: Delivery) -> tuple[str, State, str]:
    return row.effect, State(row.state), row.reason


# Where to look


@dataclass(frozen=True, slots=True)
class _Walk:
    """Rows in the order of some columns, as an index has them, so that each is read once."""

    name: str
    rows: QuerySet[Any]
    order: tuple[str, ...]
    ripe: Callable[[Sequence[Any]], list[Any]]  # those of a batch that may go, by their age

    def batches(self, after: tuple[Any, ...] | None = None) -> Iterator[list[Any]]:
        while True:
            batch = list(self._following(after).order_by(*self.order)[:_BATCH])
            if not batch:
                return
            after = self.place(batch[-1])
            yield batch

    def place(self, row: Model) -> tuple[Any, ...]:
        return tuple(getattr(row, column) for column in self.order)

    def _following(self, after: tuple[Any, ...] | None) -> QuerySet[Any]:
        if after is None:
            return self.rows
        if len(self.order) == 1:
            return self.rows.filter(pk__gt=after[0])
        instant = self.order[0]
        return self.rows.filter(**{f"{instant}__gte": after[0]}).exclude(
            **{instant: after[0], "pk__lte": after[1]}
        )


def _walks(using: str) -> list[_Walk]:
    """
    One walk for each span: past what is kept for longer it goes once, and then on from there.

    No effect, state or reason in the WHERE: to find five hundred of them the database might read
    through millions that are kept.
    """
    rows = Delivery.objects.using(using).only(*_COLUMNS)
    ended = rows.filter(state__in=ENDED_WELL)  # as the index says it
    walks = [
        _Walk(
            f"ended {span}",
            ended.filter(finished_at__lte=DbNow() - span),
            ("finished_at", "pk"),
            _kept_for_just(span),
        )
        for span in spans(*ENDED_WELL)
    ]
    if spans(State.POISONED):
        # Those lie in their index by id, and in no order of their end.
        walks.append(_Walk("poisoned", rows.poisoned(), ("pk",), _past_their_own(using)))
    return walks


def _bare_events(using: str) -> _Walk:
    old = OutboxEvent.objects.using(using).filter(emitted_at__lte=DbNow() - settings().retention)
    return _Walk("events", old.only("emitted_at"), ("emitted_at", "pk"), list)


def _kept_for_just(span: timedelta) -> Callable[[Sequence[Delivery]], list[Delivery]]:
    kept = cache(_kept_for)
    return lambda batch: [row for row in batch if kept(row.effect, row.state, row.reason) == span]


def _past_their_own(using: str) -> Callable[[Sequence[Delivery]], list[Delivery]]:
    kept = cache(_kept_for)
    now = read_clock(using)

    def is_ripe(row: Delivery) -> bool:
        span = kept(row.effect, row.state, row.reason)
        ended = row.finished_at
        return span is not None and ended is not None and in_utc(ended) <= now - span

    return lambda batch: [row for row in batch if is_ripe(row)]


def _kept_for(name: str, state: int, reason: str) -> timedelta | None:
    effect = registry.find_effect(name)
    if effect is None:
        return None  # nobody here can say what others owe
    return kept_for(effect, State(state), reason)


def _on_from_its_mark(walk: _Walk, seconds: float, swept: Swept) -> Iterator[list[Any]]:
    """
    The batches of *walk* that the last sweep of this process has not seen, until time is over.

    From the beginning again every few hours, for what was kept since it was owed.
    """
    place = (walk.rows.db, walk.name)
    now = monotonic()
    mark = _marks.get(place)
    if mark is None or now - (mark.seen_the_end or now) > _ANEW:
        mark = _marks[place] = _Mark()
    for batch in walk.batches(mark.after):
        swept.seen += len(batch)
        yield batch
        mark.after = walk.place(batch[-1])
        if len(batch) == _BATCH and monotonic() > now + seconds:
            swept.truncated = True
            return
    if mark.seen_the_end is None:
        mark.seen_the_end = now


# What is asked, and deleted


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
    model = registry.effect(rows[0].effect).event.model
    if model is None:
        return list(rows)
    owing = owed.rows(model, using).filter(pk__in=list(subjects.values()))
    kept = {str(pk) for pk in owing.values_list("pk", flat=True)}
    return [r for r in rows if r.event_id in subjects and subjects[r.event_id] not in kept]


def _delete(using: str, rows: Sequence[Delivery]) -> int:
    return len(_deleted(using, rows))


def _deleted(using: str, rows: Sequence[Delivery]) -> list[Delivery]:
    """Delete *rows* and their events where nothing else depends on those; the rows that went."""
    if not rows:
        return []
    try:
        with transaction.atomic(using=using):
            # Asked again: a debt may have been promised again since it was read, and then its end
            # is another. Not by the state: with one, the index of all that may go is walked.
            ended = {row.pk: row.finished_at for row in rows}
            found = Delivery.objects.using(using).filter(pk__in=list(ended))
            locked = found.select_for_update(skip_locked=True).order_by("pk")
            now = locked.values_list("pk", "finished_at")
            ids = {pk for pk, finished_at in now if finished_at == ended[pk]}
            Attempt.objects.using(using).filter(delivery_id__in=ids).delete()
            PayloadEdit.objects.using(using).filter(delivery_id__in=ids).delete()
            for delete in _others:
                delete(using, ids)
            Delivery.objects.using(using).filter(pk__in=ids).delete()
        _delete_bare(using, {row.event_id for row in rows})
    except Error:
        mend(using)
        if len(rows) > 1:  # one of them cannot be deleted: the others can
            return [gone for row in rows for gone in _deleted(using, [row])]
        logger.exception("could not prune delivery %d; the others go on", rows[0].pk)
        return []
    return [row for row in rows if row.pk in ids]


def _delete_bare(using: str, event_ids: Iterable[Any]) -> int:
    return _bare(using, event_ids).delete()[0]


def _bare(using: str, event_ids: Iterable[Any]) -> QuerySet[OutboxEvent]:
    return OutboxEvent.objects.using(using).filter(pk__in=list(event_ids), deliveries=None)
