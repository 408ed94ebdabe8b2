"""
The payload that a delivery runs with: its event's, or what a person has put in its place.

The event is never touched, since its other deliveries have it too; the delivery names the edit in
its notes, so that the row that every state change rewrites stays narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import models

from ..clock import DbNow
from ..effects.effect import Effect
from ..effects.event import Event
from ..effects.registry import registry
from ..exceptions import UnknownEvent
from .models import AnyJSON, Delivery, OutboxEvent
from .states import noted_edit


class PayloadEdit(models.Model):
    """What a person has put in the place of the event's payload, for one delivery. Append-only."""

    # DO_NOTHING and no constraint, as for attempts: prune deletes edits with their delivery.
    delivery = models.ForeignKey(
        Delivery, models.DO_NOTHING, db_constraint=False, related_name="payload_edits"
    )
    # Which event it stands in for: a debt that is promised again moves to a newer one, and then
    # that one's own payload is meant.
    event_id = models.UUIDField(editable=False)
    payload = AnyJSON(default=dict)
    version = models.PositiveSmallIntegerField(help_text="of the payload, as it was declared then")
    generation = models.PositiveSmallIntegerField(help_text="of the delivery, from then on")
    previous = models.BigIntegerField(null=True, help_text="the edit that was in force until then")
    by = models.CharField(max_length=150)
    why = models.TextField()
    edited_at = models.DateTimeField(db_default=DbNow())

    class Meta:
        app_label = "reliable_effects"
        default_permissions = ()  # it is shown on the page of its delivery

    def __str__(self) -> str:
        return f"edit {self.pk} of delivery {self.delivery_id}"


@dataclass(frozen=True, slots=True)
class Payload:
    """As it is stored: not read by any release yet."""

    stored: Any
    version: int
    edit: int | None = None  # None: it is the event's own


def in_force(using: str, delivery_id: int, notes: Any, event: OutboxEvent) -> Payload | None:
    """
    What the delivery runs with; None where its notes name an edit that is not there.

    Then nobody knows what it should run with, and the event's payload is what somebody rejected.
    """
    edit_id = noted_edit(notes)
    if edit_id is None:
        return Payload(event.payload, event.version)
    edits = PayloadEdit.objects.using(using).filter(pk=edit_id, delivery_id=delivery_id)
    edit = edits.first()
    if edit is None:
        return None
    if edit.event_id != event.pk:
        return Payload(event.payload, event.version)
    return Payload(edit.payload, edit.version, edit.pk)


def declared(effect: Effect[Any, Any], event: OutboxEvent) -> Event[Any, Any]:
    """The declaration that says how the payload of *event* is read for *effect*."""
    if event.source == "promise" or effect.on is None:
        return effect.own_event
    try:
        return registry.event(event.name)
    except UnknownEvent:
        return effect.event
