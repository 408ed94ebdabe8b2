"""
The page of one delivery: why it is not running, what has become of it, and its payload to edit.

It takes the place of the outbox's own page and keeps its rules: payloads are for those who may see
events, error texts for those who may see attempts.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse

from ...outbox.admin import looks
from ...outbox.admin.deliveries import AttemptInline, DeliveryAdmin
from ...outbox.edits import EDITABLE
from ...outbox.models import Delivery
from ...outbox.payloads import in_force
from . import timeline
from .editing import PayloadEditing, may_edit_payloads
from .why import why


class DeliveryPage(PayloadEditing, DeliveryAdmin):
    change_form_template = "reliable_effects/admin/delivery.html"

    def get_inlines(self, request: HttpRequest, obj: Delivery | None) -> list[type[Any]]:
        # The timeline has the attempts, in their place among what else has happened.
        return [each for each in super().get_inlines(request, obj) if each is not AttemptInline]

    def get_fieldsets(self, request: HttpRequest, obj: Delivery | None = None) -> Any:
        return [
            (name, {**options, "fields": tuple(f for f in options["fields"] if f != "next")})
            for name, options in super().get_fieldsets(request, obj)
        ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = kwargs.get("obj")
        if row is not None:
            told = timeline.of(row, request.user.has_perm)
            context |= {
                "why": why(row),
                "entries": [(looks.instant(entry.at), entry) for entry in told.entries],
                "is_cut": told.is_cut,
                "may_lack_remedies": told.may_lack_remedies,
                "at_most": timeline.AT_MOST,
                "state": looks.state(row),
                "hints": row.hints,
                "may_edit": may_edit_payloads(request) and row.state in EDITABLE,
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def payload(self, row: Delivery) -> str:
        found = in_force(row._state.db or "default", row.pk, row.notes, row.event)
        if found is None:
            return "It was edited, and the edit is not in the database: it cannot run."
        shown = looks.payload(row.event.name, found.stored)
        return shown if found.edit is None else looks.edited(shown, found.edit)

    payload.short_description = "payload"  # type: ignore[attr-defined]  # as admin.display does
