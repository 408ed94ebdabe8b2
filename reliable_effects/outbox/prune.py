"""
Delete what ended well and is old: in small batches, never by age alone.

For an effect with an owed query that query is asked first, and what is still owed is kept: its row
is what proves that it was done. Poisoned and uncertain rows are deleted by people only.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import Q

from ..clock import DbNow
from ..conf import settings
from ..effects.effect import Effect
from ..effects.registry import registry
from .heartbeat import Swept
from .models import Attempt, Delivery, OutboxEvent
from .states import ENDED_WELL, Reason, State

_BATCH = 500  # rows in one transaction: a few milliseconds of locks
_BOUND = 20.0  # seconds a sweep


def prune(using: str) -> Swept:
    """One sweep: deliveries that ended well longer ago than `retention`, then events left bare."""
    swept = Swept()
    bound = time.monotonic() + _BOUND
    after: tuple[Any, int] | None = None
    while True:
        if time.monotonic() > bound:
            swept.truncated = True
            break
        batch = _batch(using, after)
        if not batch:
            break
        swept.seen += len(batch)
        swept.done += _delete(using, _prunable(using, batch))
        after = (batch[-1].finished_at, batch[-1].pk)
    swept.done += _delete_bare_events(using)
    return swept


def _batch(using: str, after: tuple[Any, int] | None) -> list[Delivery]:
    old = Delivery.objects.using(using).filter(finished_at__lte=DbNow() - settings().retention)
    # What expired, or was skipped by its effect, did not happen: it is not ours to forget.
    rows = old.filter(state__in=ENDED_WELL).exclude(
        ~Q(reason=Reason.NOT_NEEDED), state=State.SKIPPED
    )
    if after is not None:
        # What was kept is not read again: go on after it, by (finished_at, id).
        finished_at, pk = after
        rows = rows.filter(finished_at__gte=finished_at).exclude(
            finished_at=finished_at, pk__lte=pk
        )
    return list(rows.select_related("event").order_by("finished_at", "pk")[:_BATCH])


def _prunable(using: str, batch: Sequence[Delivery]) -> list[Delivery]:
    """Those of *batch* that nothing depends on any more."""
    kept: set[int] = set()
    by_effect: dict[str, list[Delivery]] = {}
    for row in batch:
        by_effect.setdefault(row.effect, []).append(row)
    for name, rows in by_effect.items():
        effect = registry.find_effect(name)
        if effect is None:
            kept.update(row.pk for row in rows)  # nobody here can say what it owes
        elif effect.owed_query is not None:
            owing = _still_owing(effect, rows, using)
            kept.update(
                row.pk
                for row in rows
                if row.state == State.CANCELLED or row.event.subject_pk in owing
            )
    return [row for row in batch if row.pk not in kept]


def _still_owing(effect: Effect[Any, Any], rows: Sequence[Delivery], using: str) -> set[str]:
    assert effect.owed_query is not None  # noqa: S101  # the caller looked
    pks = [row.event.subject_pk for row in rows]
    owing = effect.owed_query.query().using(using).filter(pk__in=pks)
    return {str(pk) for pk in owing.values_list("pk", flat=True)}


def _delete(using: str, rows: Sequence[Delivery]) -> int:
    if not rows:
        return 0
    ids = [row.pk for row in rows]
    with transaction.atomic(using=using):
        # The state is asked again: a debt may have been promised again since it was read.
        free = Delivery.objects.using(using).select_for_update(skip_locked=True)
        ids = list(
            free.filter(pk__in=ids, state__in=ENDED_WELL)
            .order_by("pk")
            .values_list("pk", flat=True)
        )
        Attempt.objects.using(using).filter(delivery_id__in=ids)._raw_delete(using)
        Delivery.objects.using(using).filter(pk__in=ids)._raw_delete(using)
    _delete_bare(using, {row.event_id for row in rows})
    return len(ids)


def _delete_bare(using: str, event_ids: Any) -> int:
    events = OutboxEvent.objects.using(using).filter(pk__in=list(event_ids), deliveries=None)
    return events._raw_delete(using) or 0  # None where there was nothing to look for


def _delete_bare_events(using: str) -> int:
    """Old events that owed nothing to anybody."""
    old = OutboxEvent.objects.using(using).filter(
        emitted_at__lte=DbNow() - settings().retention, deliveries=None
    )
    return _delete_bare(using, old.order_by("emitted_at").values_list("pk", flat=True)[:_BATCH])
