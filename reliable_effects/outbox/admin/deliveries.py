"""The pages of deliveries and their attempts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from .. import search
from ..models import Attempt, Delivery, OutboxEvent
from ..states import State
from . import looks
from .filters import (
    DueFilter,
    EffectFilter,
    GroupFilter,
    QueueFilter,
    ReasonFilter,
    StateFilter,
)
from .looked_through import DUE_FIRST, DeliveryList, InTheirOrder
from .pages import BoundedPaginator
from .remedies import RemedyAdmin
from .subjects import ShowsSubject

_SIBLINGS = 50  # deliveries of one event that a page shows


class AttemptInline(admin.StackedInline):  # type: ignore[type-arg]  # not generic at run time
    """What went wrong, newest first. Its text may hold secrets, so it needs `view_attempt`."""

    model = Attempt
    verbose_name_plural = "attempts that did not end well"
    ordering = ("-id",)
    fields = readonly_fields = (
        "what", "when", "exception_type", "full_message", "full_traceback", "host", "release",
    )  # fmt: skip
    can_delete = False
    extra = max_num = 0

    def has_add_permission(self, *_: Any, **__: Any) -> bool:
        return False

    def has_change_permission(self, *_: Any, **__: Any) -> bool:
        return False

    @admin.display(description="outcome")
    def what(self, row: Attempt) -> str:
        return f"{row.outcome}: {Attempt.Outcome(row.outcome).label}"

    @admin.display(description="ended")
    def when(self, row: Attempt) -> str:
        return looks.instant(row.ended_at)

    @admin.display(description="message")
    def full_message(self, row: Attempt) -> str:
        return looks.pre(row.message)

    @admin.display(description="traceback")
    def full_traceback(self, row: Attempt) -> str:
        return looks.pre(row.traceback)


_others: list[type[Any]] = []


def also_show(inline: type[Any]) -> None:
    """On the page of a delivery: what a floor above knows about it."""
    if inline not in _others:
        _others.append(inline)


class DeliveryAdmin(ShowsSubject, RemedyAdmin):
    subject_follows = "effect"
    list_display = (
        "id", "shown_state", "effect", "shown_attempts", "shown_due", "shown_reason", "queue", "worker",
    )  # fmt: skip
    list_display_links = ("id", "effect")
    list_filter = (GroupFilter, StateFilter, ReasonFilter, DueFilter, EffectFilter, QueueFilter)
    ordering = ("-id",)  # the primary key: no index but it could put them in order
    search_fields = ("id",)  # shows the box; `search` says what is looked for
    search_help_text = search.HELP
    inlines = (AttemptInline,)
    change_form_template = "reliable_effects/admin/with_remedies.html"
    change_list_template = "reliable_effects/admin/deliveries.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DeliveryList]:  # noqa: ARG002  # Django's signature
        return DeliveryList

    def get_paginator(
        self,
        request: HttpRequest,  # noqa: ARG002  # Django's signature
        queryset: QuerySet[Any],
        per_page: int,
        orphans: int = 0,
        allow_empty_first_page: bool = True,  # as above
    ) -> BoundedPaginator:
        kind = InTheirOrder if queryset.query.order_by == DUE_FIRST else BoundedPaginator
        return kind(queryset, per_page, orphans, allow_empty_first_page)

    def get_inlines(self, _request: HttpRequest, _obj: Delivery | None) -> list[type[Any]]:
        return [*self.inlines, *_others]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        # No join: for a page of a hundred MariaDB reads all events, and sorts what it finds to them.
        rows: QuerySet[Delivery] = super().get_queryset(request).prefetch_related("event")
        return rows

    def names_subject(self, row: Delivery) -> OutboxEvent:
        return row.event

    def get_search_results(
        self, _request: HttpRequest, queryset: QuerySet[Delivery], search_term: str
    ) -> tuple[QuerySet[Delivery], bool]:
        if not search_term.strip():
            return queryset, False
        events = OutboxEvent.objects.using(queryset.db)
        return queryset.filter(search.deliveries(search_term, events)), False

    def get_fieldsets(self, request: HttpRequest, _obj: Delivery | None = None) -> Any:
        sets: list[Any] = [
            (None, {"fields": (
                "shown_state", "shown_reason", "next", "effect", self.subject_field(request),
                "shown_attempts", "in_words",
            )}),
            ("When and where", {"fields": (
                "due", "looked_at", "finished", "queue", "worker", "lease",
            )}),
        ]  # fmt: skip
        # A payload may say more than a state does, so it is for those who may see events.
        if request.user.has_perm("reliable_effects.view_outboxevent"):
            sets.append(("The event", {"fields": (
                "event_link", "emitted", "source", "payload", "correlation", "trace_id",
            )}))  # fmt: skip
        sets += [
            ("Deliveries of the same event", {"fields": ("siblings",)}),
            ("Keys", {"fields": ("key", "generation", "sent_key")}),
        ]
        return sets

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = kwargs.get("obj")
        context["remedies"] = self.remedies_for(request, row) if row is not None else []
        return super().render_change_form(request, context, *args, **kwargs)

    # The list and the page

    @admin.display(description="state")
    def shown_state(self, row: Delivery) -> str:
        return looks.state(row)

    @admin.display(description="reason")
    def shown_reason(self, row: Delivery) -> str:
        return looks.reason(row)

    @admin.display(description="attempts")
    def shown_attempts(self, row: Delivery) -> str:
        return looks.attempts(row)

    @admin.display(description="due")
    def shown_due(self, row: Delivery) -> str:
        waits = row.state in (State.PENDING, State.UNCERTAIN) and row.look_at is not None
        return looks.moment(row.due_at) if waits else looks.NOTHING

    # The page

    @admin.display(description="what comes next")
    def next(self, row: Delivery) -> str:
        return looks.what_next(row)

    @admin.display(description="notes")
    def in_words(self, row: Delivery) -> str:
        return looks.notes(row)

    @admin.display(description="due")
    def due(self, row: Delivery) -> str:
        return looks.instant(row.due_at)

    @admin.display(description="the sweep looks at it")
    def looked_at(self, row: Delivery) -> str:
        return looks.instant(row.look_at)

    @admin.display(description="finished")
    def finished(self, row: Delivery) -> str:
        return looks.instant(row.finished_at)

    @admin.display(description="lease ends")
    def lease(self, row: Delivery) -> str:
        return looks.instant(row.lease_expires_at)

    @admin.display(description="idempotency key sent")
    def sent_key(self, row: Delivery) -> str:
        return row.idempotency_key

    @admin.display(description="event")
    def event_link(self, row: Delivery) -> str:
        event = row.event
        text = f"{event.name} (version {event.version})"
        return looks.page(OutboxEvent, event.pk, text, self.admin_site.name)

    @admin.display(description="emitted")
    def emitted(self, row: Delivery) -> str:
        return looks.instant(row.event.emitted_at)

    @admin.display
    def source(self, row: Delivery) -> str:
        return row.event.source

    @admin.display
    def payload(self, row: Delivery) -> str:
        return looks.payload(row.event.name, row.event.payload)

    @admin.display
    def correlation(self, row: Delivery) -> str:
        return str(row.event.correlation)

    @admin.display(description="trace id")
    def trace_id(self, row: Delivery) -> str:
        return row.event.trace_id or looks.NOTHING

    @admin.display(description="deliveries")
    def siblings(self, row: Delivery) -> str:
        others = Delivery.objects.using(row._state.db).filter(
            event_id=row.event_id
        )  # the alias this row came from
        return deliveries_table(others.exclude(pk=row.pk), self.admin_site.name)


def offer(action: Callable[..., Any]) -> None:
    """In the list of deliveries: what a floor above can do with them."""
    if action not in DeliveryAdmin.actions:
        DeliveryAdmin.actions = (*DeliveryAdmin.actions, action)


def deliveries_table(rows: QuerySet[Delivery], site: str) -> str:
    """Deliveries of one event, each with its state and a link."""
    return looks.table(
        ("delivery", "effect", "state", "attempts", "reason"),
        (
            (
                looks.page(Delivery, row.pk, f"#{row.pk}", site),
                row.effect,
                looks.state(row),
                looks.attempts(row),
                row.get_reason_display(),
            )
            for row in rows.order_by("pk")[:_SIBLINGS]
        ),
    )
