"""The page of alerts: what lasts, and what was over when. Nothing to press: they end by themselves."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import F, QuerySet
from django.http import HttpRequest

from ..outbox.admin import looks
from ..outbox.admin.pages import ReadOnlyAdmin
from .models import Alert


class LastingFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return [("lasts", "lasts"), ("over", "over")]

    def queryset(self, _request: HttpRequest, rows: QuerySet[Alert]) -> QuerySet[Alert]:
        if self.value() not in ("lasts", "over"):
            return rows
        return rows.filter(resolved_at__isnull=self.value() == "lasts")


class AlertAdmin(ReadOnlyAdmin):
    list_display = ("text", "rule", "shown_level", "began", "told", "ended", "count")
    list_filter = (LastingFilter,)
    ordering = (F("resolved_at").desc(nulls_first=True), "-id")  # what lasts, then what ended last
    search_fields = ("subject", "text")
    fields = readonly_fields = (
        "text", "rule", "subject", "shown_level", "began", "seen", "told", "ended", "count",
        "untold", "tried",
    )  # fmt: skip

    @admin.display(description="level")
    def shown_level(self, row: Alert) -> str:
        return row.get_level_display()

    @admin.display(description="began")
    def began(self, row: Alert) -> str:
        return looks.moment(row.first_seen_at)

    @admin.display(description="last seen")
    def seen(self, row: Alert) -> str:
        return looks.moment(row.last_seen_at)

    @admin.display(description="last told")
    def told(self, row: Alert) -> str:
        return looks.moment(row.last_told_at)

    @admin.display(description="last tried")
    def tried(self, row: Alert) -> str:
        return looks.moment(row.last_tried_at)

    @admin.display(description="over")
    def ended(self, row: Alert) -> str:
        return looks.moment(row.resolved_at)


def register(site: AdminSite) -> None:
    """As `reliable_effects.outbox.admin.register`, for sites of your own."""
    site.register(Alert, AlertAdmin)
