"""Emit through the ORM: the twin of `emit_postgresql` for MariaDB and SQLite."""

from __future__ import annotations

import json
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Combinable

from ..clock import DbNow
from ..conf import settings
from ..exceptions import LeaseLost
from .batch import Batch, NewDelivery
from .insert import insert_where_free
from .models import Delivery, DeliveryQuerySet, OutboxEvent
from .states import Flag, Notes, Reason, State, noted


def write(connection: BaseDatabaseWrapper, batch: Batch) -> dict[UUID, int]:
    """Insert *batch*; see `emit_postgresql.write`."""
    using = connection.alias
    parent = batch.parent
    deliveries = Delivery.objects.using(using)
    if parent and not deliveries.filter(pk=parent.delivery_id, claim_token=parent.token).exists():
        raise LeaseLost(parent.delivery_id)
    OutboxEvent.objects.using(using).bulk_create(
        [
            OutboxEvent(
                id=event.id,
                name=batch.name,
                version=batch.version,
                subject_model=batch.subject_model,
                subject_pk=event.subject_pk,
                payload=json.loads(event.payload),
                correlation=batch.correlation,
                trace_id=batch.trace_id,
                source=batch.source,
            )
            for event in batch.events
        ],
        ignore_conflicts=batch.may_stand,
    )
    if not batch.may_stand:
        made = deliveries.bulk_create([_row(delivery) for delivery in batch.deliveries])
        return {row.key: row.pk for row in made}
    return _write_over(using, batch)


def _row(delivery: NewDelivery) -> Delivery:
    return Delivery(
        event_id=delivery.event_id,
        effect=delivery.effect,
        key=delivery.key,
        queue=delivery.queue,
        look_at=_look_at(delivery),
        hints=int(delivery.hinted),
    )


def _look_at(delivery: NewDelivery) -> Combinable:
    return DbNow() + settings().relay_grace if delivery.hinted else DbNow()


def _write_over(using: str, batch: Batch) -> dict[UUID, int]:
    """Where some of the keys may stand: reopen, move, or leave each, then insert the others."""
    rows = Delivery.objects.using(using)
    wanted = {delivery.key: delivery for delivery in batch.deliveries}
    written: dict[UUID, int] = {}
    # The lock keeps what is read here true until it is written: only then is it decided.
    standing = rows.select_for_update().filter(key__in=list(wanted)).order_by("key")
    for row in standing:
        new = wanted.pop(row.key)
        if _promise_again(rows, row, new):
            written[row.key] = row.pk
    insert_where_free(using, [_row(delivery) for delivery in wanted.values()])
    # A key that another transaction inserted meanwhile is under that transaction's event.
    inserted = rows.filter(
        key__in=list(wanted), event_id__in={delivery.event_id for delivery in wanted.values()}
    )
    written.update(inserted.values_list("key", "pk"))
    return written


def _promise_again(rows: DeliveryQuerySet, row: Delivery, new: NewDelivery) -> bool:
    if row.event_id == new.event_id:
        return False
    never_begun = row.state == State.PENDING and not row.flags & Flag.BEGUN
    ended_without_acting = row.state == State.CANCELLED or (
        row.state == State.SKIPPED and row.reason == Reason.NOT_NEEDED
    )
    if not (never_begun or ended_without_acting):
        return False
    change = {
        "event_id": new.event_id,
        "queue": new.queue,
        "look_at": _look_at(new),
        "hints": int(new.hinted),
    }
    if ended_without_acting:
        notes = row.notes if isinstance(row.notes, dict) else {}
        change |= {
            "reason": "",
            "attempts": 0,
            "finished_at": None,
            "due_at": DbNow(),
            "notes": notes | {Notes.ROUND: noted(notes, Notes.ROUND) + 1},
        }
    guarded = rows.filter(pk=row.pk, state=row.state, flags=row.flags)
    return guarded.update(**change, state=State.PENDING) == 1
