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
from .subjects import ShowsSubject


class OutboxEventAdmin(ShowsSubject):
    subject_follows = "name"
    list_display = ("name", "source", "emitted", "version")
    list_filter = (EventNameFilter,)
    ordering = ("-emitted_at",)  # indexed; ids of events that effects emit are in no order
    search_fields = ("id",)  # shows the box; `search` says what is looked for
    search_help_text = "A subject (shop.Order:42, or 42 alone), or the id of an event."
    readonly_fields = (
        "id", "name", "version", "emitted", "source", "shown_payload",
        "correlation", "trace_id", "deliveries",
    )  # fmt: skip

    def get_fields(self, request: HttpRequest, _obj: OutboxEvent | None = None) -> Any:
        may_see = request.user.has_perm("reliable_effects.view_delivery")
        shown: list[Any] = [n for n in self.readonly_fields if may_see or n != "deliveries"]
        shown.insert(shown.index("version") + 1, self.subject_field(request))
        return shown

    def get_readonly_fields(self, request: HttpRequest, obj: OutboxEvent | None = None) -> Any:
        return self.get_fields(request, obj)

    def get_search_results(
        self, _request: HttpRequest, queryset: QuerySet[OutboxEvent], search_term: str
    ) -> tuple[QuerySet[OutboxEvent], bool]:
        found = queryset.filter(search.events(search_term)) if search_term.strip() else queryset
        return found, False

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
