"""The pages of events."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from .. import search
from ..models import Delivery, OutboxEvent
from . import looks
from .deliveries import deliveries_table
from .filters import EventNameFilter
from .pages import ReadOnlyAdmin


class OutboxEventAdmin(ReadOnlyAdmin):
    list_display = ("name", "shown_subject", "source", "emitted", "version")
    list_filter = (EventNameFilter,)
    ordering = ("-emitted_at",)  # indexed; ids of events that effects emit are in no order
    search_fields = ("id",)  # shows the box; `search` says what is looked for
    search_help_text = "A subject (shop.Order:42, or 42 alone), or the id of an event."
    readonly_fields = (
        "id", "name", "version", "shown_subject", "emitted", "source", "shown_payload",
        "correlation", "trace_id", "deliveries",
    )  # fmt: skip

    def get_fields(self, request: HttpRequest, _obj: OutboxEvent | None = None) -> Any:
        may_see = request.user.has_perm("reliable_effects.view_delivery")
        return [name for name in self.readonly_fields if may_see or name != "deliveries"]

    def get_search_results(
        self, _request: HttpRequest, queryset: QuerySet[OutboxEvent], search_term: str
    ) -> tuple[QuerySet[OutboxEvent], bool]:
        found = queryset.filter(search.events(search_term)) if search_term.strip() else queryset
        return found, False

    @admin.display(description="subject")
    def shown_subject(self, row: OutboxEvent) -> str:
        return looks.subject_link(row, self.admin_site.name)

    @admin.display(description="emitted")
    def emitted(self, row: OutboxEvent) -> str:
        return looks.moment(row.emitted_at)

    @admin.display(description="payload")
    def shown_payload(self, row: OutboxEvent) -> str:
        return looks.payload(row.name, row.payload)

    @admin.display(description="deliveries")
    def deliveries(self, row: OutboxEvent) -> str:
        rows = Delivery.objects.using(row._state.db).filter(
            event_id=row.pk
        )  # the alias this row came from
        return deliveries_table(rows, self.admin_site.name)
