"""
The page of the messages that were handled: which, by whom, and whether their sender is to be trusted.

Nothing counts or reads the whole table: a message is looked up by the key that its id makes with
each consumer's name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from ..outbox.admin import looks
from ..outbox.admin.filters import KnownChoices
from ..outbox.admin.pages import ReadOnlyAdmin
from .hashing import message_key
from .models import InboxMessage, consumers

_OFFERED = 200  # consumers in the filter; the others are found by search


class ConsumerFilter(admin.SimpleListFilter):
    title = parameter_name = "consumer"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        rows = model_admin.get_queryset(request)
        return [(name, name) for name in consumers(rows.db, at_most=_OFFERED)]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(consumer=self.value()) if self.value() else queryset


class ConflictFilter(KnownChoices):
    title = "payload"
    parameter_name = "conflicted"

    def known(self) -> Iterable[tuple[str, str]]:
        return [("yes", "came again with another")]

    def meaning(self, chosen: str) -> Q | None:
        return Q(conflicted_at__isnull=False) if chosen == "yes" else None


class InboxMessageAdmin(ReadOnlyAdmin):
    list_display = ("message_id", "consumer", "received", "conflicted")
    list_filter = (ConsumerFilter, ConflictFilter)
    search_fields = ("message_id",)  # shows the box; `get_search_results` says what is looked for
    search_help_text = "The whole id of a message, as its sender gave it."
    fields = readonly_fields = (
        "message_id", "consumer", "shown_received", "conflicts", "last_conflict",
    )  # fmt: skip

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        # As an index has them: a quiet consumer's are not to be looked for among all others'.
        if "consumer" in request.GET:
            return ("consumer", "-received_at")
        return ("-conflicted_at",) if "conflicted" in request.GET else ("-pk",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[InboxMessage], search_term: str
    ) -> tuple[QuerySet[InboxMessage], bool]:
        if not search_term.strip():
            return queryset, False
        names = consumers(self.get_queryset(request).db)
        # Spaces may be part of it; whoever pasted one too many means the id without.
        terms = {search_term, search_term.strip()}
        keys = [message_key(name, term) for name in names for term in terms]
        return queryset.filter(key__in=keys), False

    @admin.display(description="received")
    def received(self, row: InboxMessage) -> str:
        return looks.moment(row.received_at)

    @admin.display(description="conflicted")
    def conflicted(self, row: InboxMessage) -> str:
        return looks.moment(row.conflicted_at)

    # The page

    @admin.display(description="received")
    def shown_received(self, row: InboxMessage) -> str:
        return looks.instant(row.received_at)

    @admin.display(description="last came again with another payload")
    def last_conflict(self, row: InboxMessage) -> str:
        return looks.instant(row.conflicted_at)


def register(site: AdminSite) -> None:
    """Put our page on *site*: for projects with admin sites of their own."""
    site.register(InboxMessage, InboxMessageAdmin)
