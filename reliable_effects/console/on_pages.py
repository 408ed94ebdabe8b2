"""
Effects on the pages of a project's own models: `class OrderAdmin(EffectsAdminMixin, ModelAdmin)`.

A section at the end of an object's page tells what is owed because of it and how that stands. It is
put there when the page is made, beside whatever fields and fieldsets the project has said.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html

from ..outbox.about import deliveries_about
from ..outbox.admin import looks
from ..outbox.admin.pages import ReadOnlyAdmin
from ..outbox.models import Delivery
from .links import changelist

_SHOWN = 50  # deliveries; the link below leads to all
_FIELD = "effects_of_this"


class EffectsAdminMixin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """
    Shows the deliveries of all events about an object, to whoever may view deliveries.

    Of the model, of what it inherits from and of its proxies, by every label that they have had.
    """

    Media = ReadOnlyAdmin.Media

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = kwargs.get("obj")
        form = context.get("adminform")
        may_see = request.user.has_perm("reliable_effects.view_delivery")
        if may_see and form is not None and row is not None and not kwargs.get("add"):
            # Here and not in get_fieldsets: projects override that one, and get_readonly_fields,
            # each without the other.
            form.fieldsets = [*form.fieldsets, ("Effects", {"fields": (_FIELD,)})]
            form.readonly_fields = [*form.readonly_fields, _FIELD]
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="deliveries, newest first")
    def effects_of_this(self, row: Model) -> str:
        """As HTML; for a project's own fieldsets and lists too, where it has checked who looks."""
        site = self.admin_site.name
        newest = list(
            deliveries_about(row).select_related("event").defer("event__payload")[: _SHOWN + 1]
        )
        if not newest:
            return "Nothing is owed because of this, or it is no longer kept."
        told = looks.table(
            ("delivery", "state", "effect", "event", "attempts", "emitted", "next, or ended"),
            (_cells(delivery, site) for delivery in newest[:_SHOWN]),
        )
        if len(newest) <= _SHOWN:
            return told
        more = changelist(Delivery, site, {"q": looks.subject(newest[0].event)})
        if not more:
            return format_html("{}<p>These are the newest {}.</p>", told, _SHOWN)
        return format_html(
            '{}<p>These are the newest {}. <a href="{}">All of them</a></p>', told, _SHOWN, more
        )


def _cells(row: Delivery, site: str) -> tuple[Any, ...]:
    return (
        looks.page(Delivery, row.pk, f"#{row.pk}", site),
        looks.state(row),
        row.effect,
        row.event.name,
        looks.attempts(row),
        looks.moment(row.event.emitted_at),
        looks.moment(row.finished_at or (row.due_at if row.look_at is not None else None)),
    )
