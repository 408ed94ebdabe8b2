"""The pages of scheduled jobs."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse

from ...outbox import search
from ...outbox.admin import looks
from ...outbox.admin.subjects import ShowsSubject
from ...outbox.models import OutboxEvent
from ..models import ScheduledJob
from ..states import JobState
from ..tables import event_id_of
from .actions import JobActions
from .filters import Dates, JobDueFilter, JobEventFilter, JobReasonFilter, JobStateFilter


class ScheduledJobAdmin(JobActions, ShowsSubject):
    subject_follows = "event"
    list_display = ("key", "shown_state", "event", "shown_at", "shown_reason")
    list_filter = (JobStateFilter, JobReasonFilter, JobDueFilter, JobEventFilter)
    date_hierarchy = "at"
    change_list_template = "reliable_effects/admin/jobs.html"
    ordering = ("state", "at")  # as the index has them: what waits is first, the next in front
    search_fields = ("key",)  # shows the box; `get_search_results` says what is looked for
    search_help_text = "A key, a subject (shop.Order:42, or 42 alone), or the id of a job."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        if "at__year" in request.GET:
            # Says nothing but which index to read: each state's dates lie together in it.
            rows = rows.filter(state__in=JobState.values)
        return rows

    def get_search_results(
        self, _request: HttpRequest, queryset: QuerySet[ScheduledJob], search_term: str
    ) -> tuple[QuerySet[ScheduledJob], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        job_id = search.as_uuid(term)
        found = Q(key=term) | (Q(pk=job_id) if job_id is not None else search.about(term))
        return queryset.filter(found), False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        dates = Dates(request, super().get_queryset(request))
        return super().changelist_view(request, {"dates": dates, **(extra_context or {})})

    def get_fieldsets(self, request: HttpRequest, _obj: ScheduledJob | None = None) -> Any:
        return [
            (None, {"fields": ("shown_state", "next", "event", self.subject_field(request), "key")}),
            ("When", {"fields": (
                "due", "shown_wall", "shown_late", "created", "ended",
            )}),
            ("The event", {"fields": ("event_link", "version", "shown_payload")}),
        ]  # fmt: skip

    # The list and the page

    @admin.display(description="state")
    def shown_state(self, row: ScheduledJob) -> str:
        return looks.badge(JobState(row.state).label)

    @admin.display(description="at")
    def shown_at(self, row: ScheduledJob) -> str:
        return looks.moment(row.at)

    @admin.display(description="reason")
    def shown_reason(self, row: ScheduledJob) -> str:
        return row.get_reason_display() or looks.NOTHING

    # The page

    @admin.display(description="what comes next")
    def next(self, row: ScheduledJob) -> str:
        match JobState(row.state):
            case JobState.WAITING:
                return "A tick emits its event when the time has come."
            case JobState.BLOCKED:
                return (
                    f"It is tried again each minute: {row.get_reason_display()}."
                    " Mend the cause, or cancel it."
                )
            case JobState.MISSED:
                return "A person runs it now, moves it, or cancels it."
            case _:
                return "Nothing: it has ended."

    @admin.display(description="at")
    def due(self, row: ScheduledJob) -> str:
        return looks.instant(row.at)

    @admin.display(description="on the wall")
    def shown_wall(self, row: ScheduledJob) -> str:
        return row.wall_clock or looks.NOTHING

    @admin.display(description="how late it may run")
    def shown_late(self, row: ScheduledJob) -> str:
        return str(row.late) if row.late is not None else "however late"

    @admin.display(description="scheduled")
    def created(self, row: ScheduledJob) -> str:
        return looks.instant(row.created_at)

    @admin.display(description="ended")
    def ended(self, row: ScheduledJob) -> str:
        return looks.instant(row.ended_at)

    @admin.display(description="event")
    def event_link(self, row: ScheduledJob) -> str:
        if row.state != JobState.DONE:
            return looks.NOTHING
        event_id = event_id_of(row)
        if event_id is None:
            return looks.NOTHING
        return looks.page(OutboxEvent, event_id, str(event_id), self.admin_site.name)

    @admin.display(description="payload")
    def shown_payload(self, row: ScheduledJob) -> str:
        return looks.payload(row.event, row.payload)
