"""
Look and claim through the ORM, for MariaDB and SQLite: the twin of `claim_postgresql`.

What is seldom asked, who holds a row or has it locked, is asked here on PostgreSQL too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.db import connections, transaction
from django.db.models import BooleanField, ExpressionWrapper, F, Q

from ..clock import DbNow, in_utc
from .claimed import KEPT, Claimed, Seen, Wanted, notes_of, worker_name
from .models import Delivery, DeliveryQuerySet, OutboxEvent
from .states import WAITING, State


def look(using: str, ids: Sequence[int]) -> list[Seen]:
    """The due rows among *ids*, in their order."""
    rows = (
        Delivery.objects.using(using)
        .filter(pk__in=ids)
        .order_by("pk")
        .annotate(is_due=_IS_DUE)
        .values_list(
            "pk", "effect", "queue", "state", "flags", "notes", "event_id", "due_at", "is_due"
        )
    )
    return [
        Seen(using, pk, effect, queue, State(state), flags, notes_of(notes), event, in_utc(due_at))
        for pk, effect, queue, state, flags, notes, event, due_at, is_due in rows
        if is_due and state in WAITING
    ]


# Compared there: to read an instant costs Python as much as all else of a row.
_IS_DUE = ExpressionWrapper(
    Q(look_at__isnull=False, due_at__lte=DbNow()), output_field=BooleanField()
)


def take(using: str, wanted: Sequence[Wanted]) -> list[Claimed]:
    alike: dict[tuple[State, int, timedelta, int], list[int]] = {}
    for w in wanted:
        alike.setdefault((w.state, w.token, w.lease, w.flags), []).append(w.id)
    rows = Delivery.objects.using(using)
    with transaction.atomic(using=using):
        for (state, token, lease, flags), ids in alike.items():
            rows.filter(
                pk__in=unlocked(rows, ids), state=state, due_at__lte=DbNow(), look_at__isnull=False
            ).update(
                attempts=F("attempts") + int(state == State.PENDING),
                claim_token=token,
                lease_expires_at=DbNow() + lease,
                hints=0,
                look_at=None,
                worker=worker_name(),
                flags=F("flags").bitand(KEPT).bitor(flags),
                state=State.RUNNING,
            )
        return held_by_us(using, wanted)


def unlocked(rows: DeliveryQuerySet, ids: list[int]) -> list[int]:
    """Those of *ids* that nobody has locked: who holds one will have changed it, or is a person."""
    if not connections[rows.db].features.has_select_for_update_skip_locked:
        return ids  # SQLite has one lock, and it is ours
    locked = rows.filter(pk__in=ids).select_for_update(skip_locked=True).order_by("pk")
    return list(locked.values_list("pk", flat=True))


def held_by_us(using: str, wanted: Sequence[Wanted]) -> list[Claimed]:
    """Which of *wanted* carry the token that we wrote."""
    tokens = {w.id: w for w in wanted}
    rows = Delivery.objects.using(using).filter(pk__in=list(tokens)).annotate(now=DbNow())
    mine = {row.pk: row for row in rows if row.claim_token == tokens[row.pk].token}
    events = OutboxEvent.objects.using(using).in_bulk([row.event_id for row in mine.values()])
    return [
        Claimed(
            using=using,
            id=row.pk,
            token=w.token,
            effect=w.effect,
            queue=row.queue,
            key=row.key,
            generation=row.generation,
            attempt=row.attempts,
            flags=row.flags,
            notes=notes_of(row.notes) or {},
            event=events.get(row.event_id),
            claimed_at=in_utc(row.now),  # type: ignore[attr-defined]  # annotated above
            due_at=w.due_at,
        )
        for w in wanted
        if (row := mine.get(w.id)) is not None
    ]
