"""
The event that a promised or reopened delivery hangs on: the subject's newest that will do.

An effect gets its subject and payload from it. Where none is left it is made up, as old as the debt.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from django.db.models import Model, QuerySet

from ..clock import DbNow, in_utc, read_clock
from ..conf import settings
from ..effects.effect import Effect
from ..effects.keys import new_event_id
from ..effects.owed import ONCE
from ..effects.payloads import BLANKED
from ..outbox.models import OutboxEvent
from .classify import Found
from .models import instant_of
from .owing import query_of


def events_for(
    effect: Effect[Any, Any], using: str, found: Sequence[Found], subjects: dict[str, Model]
) -> dict[str, UUID]:
    """The newest event of each subject that will do; where there is none, one that is made up."""
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
    since = {each.owing.pk: instant_of(each.owing.since) for each in found}
    one_debt = query_of(effect).debt is ONCE
    newest: dict[str, UUID] = {}
    columns = unexpired(effect, using, rows).order_by("emitted_at", "pk")
    for pk, emitted_at, event_id in columns.values_list("subject_pk", "emitted_at", "pk"):
        began = since.get(pk)
        # Of several debts of one subject, an older event tells of another.
        if one_debt or began is None or in_utc(emitted_at) >= began:
            newest[pk] = event_id
    lost = [each.owing.pk for each in found if each.owing.pk not in newest]
    made = [_made_up(effect, pk, subjects[pk], since[pk]) for pk in lost]
    OutboxEvent.objects.using(using).bulk_create(made)
    return newest | {row.subject_pk: row.pk for row in made}


def unexpired(
    effect: Effect[Any, Any], using: str, events: QuerySet[OutboxEvent]
) -> QuerySet[OutboxEvent]:
    """Those because of which *effect* may still run."""
    if effect.expires_after is None:
        return events
    return events.filter(emitted_at__gt=read_clock(using) - effect.expires_after)


def _made_up(
    effect: Effect[Any, Any], pk: str, subject: Model, since: datetime | None
) -> OutboxEvent:
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
        # As old as the debt, so that what expires does so when it would have.
        emitted_at=since or DbNow(),
    )
