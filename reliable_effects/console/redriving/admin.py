"""
Redrives of many as people see them: the preview, how far each is, and pause, resume, cancel.

To look changes nothing. To begin one, and each step of a person, is a POST, needs
`redrive_delivery` and a reason, and leaves an entry in the history of the operation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from ...outbox.admin import looks
from ...outbox.admin.deliveries import offer
from ...outbox.remedy import on_writer
from . import operations, shown
from .beginning import Beginning, redrive_gradually
from .forms import StepForm
from .models import ACTIVE, CANCELLABLE, RESUMABLE, OperationState, Outcome, RedriveOperation
from .selection import BadSelection, Selection


@dataclass(frozen=True, slots=True)
class _Verb:
    """A step of a person, and what its button says."""

    name: str
    button: str
    done: str
    means: str
    states: tuple[OperationState, ...]
    do: Callable[..., bool]
    is_an_end: bool = False

    def is_offered(self, row: RedriveOperation) -> bool:
        return row.state in self.states and row.ended_at is None


_VERBS = {
    verb.name: verb
    for verb in (
        _Verb(
            "pause",
            "Pause",
            "paused",
            "Nothing more is released until it is resumed. What was released runs on.",
            ACTIVE,
            operations.pause,
        ),
        _Verb(
            "resume",
            "Resume",
            "resumed",
            "It goes on. What was halted begins with a new canary.",
            RESUMABLE,
            operations.resume,
        ),
        _Verb(
            "cancel",
            "Cancel the operation",
            "cancelled",
            "Nothing more is released, for good. What was released runs on; the others stay as they"
            " are.",
            CANCELLABLE,
            operations.cancel,
            is_an_end=True,
        ),
    )
}


class RedriveOperationAdmin(Beginning):
    list_display = ("id", "shown_state", "said", "progress", "by", "short_why", "created")
    ordering = ("-id",)
    change_form_template = "reliable_effects/admin/redrive.html"
    fields = readonly_fields = (
        "shown_state", "shown_remark", "chosen", "by", "reason", "created", "progress", "outcomes", "pace_now",
        "what_was_done", "failed_ones", "failing_ones", "left_ones", "other_ones",
    )  # fmt: skip

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        name = "reliable_effects_redriveoperation_"
        return [
            path("add/", wrap(self.add), name=f"{name}add"),
            *(
                path(f"<path:pk>/{verb}/", wrap(self.take_step), {"verb": verb}, f"{name}{verb}")
                for verb in _VERBS
            ),
            *super().get_urls(),
        ]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Who may begin one may see what becomes of it.
        return super().has_view_permission(request, obj) or self.has_redrive_permission(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return super().has_module_permission(request) or self.has_redrive_permission(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[RedriveOperation]:
        # A replica would say that what was begun a moment ago is not there, and take no step.
        return on_writer(super().get_queryset(request))

    # One operation

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        found = self.get_object(request, unquote(object_id))
        may = self.has_redrive_permission(request)
        context = {
            "steps": [
                verb
                for verb in _VERBS.values()
                if may and found is not None and verb.is_offered(found)
            ],
            "goes_on": found is not None and found.ended_at is None,
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)

    @method_decorator(require_POST)
    def take_step(self, request: HttpRequest, pk: str, verb: str) -> HttpResponse:
        if not self.has_redrive_permission(request):
            raise PermissionDenied
        row = self.get_object(request, unquote(pk))
        if row is None:
            raise Http404("No such operation.")
        how = _VERBS[verb]
        form = StepForm(request.POST)
        if not form.is_valid():
            self.message_user(request, "Say why: nothing was changed.", messages.ERROR)
            return self.to_page(row)
        why = form.cleaned_data["why"]
        with transaction.atomic(using=row._state.db):
            won = how.do(row, by=request.user.get_username(), why=why)
            if won:
                self.log_change(request, row, f"{how.done.capitalize()}: {why}")
        told = f"It is {how.done}." if won else "It is no longer in a state for that."
        self.message_user(request, told, messages.SUCCESS if won else messages.WARNING)
        return self.to_page(row)

    # What is shown

    @admin.display(description="state")
    def shown_state(self, row: RedriveOperation) -> str:
        return looks.badge(row.get_state_display())

    @admin.display(description="what it waits for")
    def shown_remark(self, row: RedriveOperation) -> str:
        return row.remark or looks.NOTHING

    @admin.display(description="begun")
    def created(self, row: RedriveOperation) -> str:
        return looks.instant(row.created_at)

    @admin.display(description="chosen")
    def chosen(self, row: RedriveOperation) -> str:
        try:
            selection = Selection.from_json(row.selection)
        except BadSelection:
            return row.said
        return shown.chosen(row.said, selection, str(row._state.db))

    @admin.display(description="reason")
    def reason(self, row: RedriveOperation) -> str:
        return row.why

    @admin.display(description="reason")
    def short_why(self, row: RedriveOperation) -> str:
        return shown.short(row.why)

    @admin.display(description="progress")
    def progress(self, row: RedriveOperation) -> str:
        return shown.progress(row)

    @admin.display(description="outcomes")
    def outcomes(self, row: RedriveOperation) -> str:
        return shown.counts(row)

    @admin.display(description="how fast")
    def pace_now(self, row: RedriveOperation) -> str:
        return shown.pace(row)

    @admin.display(description="what was done")
    def what_was_done(self, row: RedriveOperation) -> str:
        return shown.history(row)

    @admin.display(description="failed last")
    def failed_ones(self, row: RedriveOperation) -> str:
        return shown.items(row, Outcome.FAILED, self.admin_site.name)

    @admin.display(description="tried again")
    def failing_ones(self, row: RedriveOperation) -> str:
        return shown.items(row, Outcome.FAILING, self.admin_site.name)

    @admin.display(description="left alone")
    def left_ones(self, row: RedriveOperation) -> str:
        return shown.items(row, Outcome.LEFT_ALONE, self.admin_site.name)

    @admin.display(description="cancelled or deleted")
    def other_ones(self, row: RedriveOperation) -> str:
        return shown.items(row, Outcome.OTHERWISE, self.admin_site.name)


def register(site: AdminSite) -> None:
    """As `reliable_effects.outbox.admin.register`, for sites of your own."""
    site.register(RedriveOperation, RedriveOperationAdmin)
    offer(redrive_gradually)
