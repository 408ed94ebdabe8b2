"""
Redrives of many as people see them: the preview, how far each is, and pause, resume, cancel.

To look changes nothing. To begin one, and each step of a person, is a POST, needs
`redrive_delivery` and a reason, and leaves an entry in the history of the operation.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_http_methods, require_POST

from ...outbox import remedy
from ...outbox.admin import looks
from ...outbox.admin.deliveries import offer
from ...outbox.admin.pages import ReadOnlyAdmin
from ...outbox.models import Delivery
from ..groups.models import FailureGroup
from . import operations, shown
from .forms import RampForm, StepForm
from .models import ACTIVE, CANCELLABLE, RESUMABLE, OperationState, Outcome, RedriveOperation
from .preview import AT_MOST, PATIENCE, preview
from .ramp import takes
from .selection import AT_MOST as MOST_IDS
from .selection import BadSelection, Selection

_LONGEST = 300_000  # characters of a selection that a page brings back


@admin.action(description="Redrive selected deliveries gradually…", permissions=["redrive"])
def redrive_gradually(
    model_admin: Any, request: HttpRequest, rows: QuerySet[Delivery]
) -> HttpResponse | None:
    """The preview, of what is ticked, or of all that the list's filters match."""
    site = model_admin.admin_site
    if not site.is_registered(RedriveOperation):
        told = "This admin site has no page of redrive operations."
        model_admin.message_user(request, told, messages.ERROR)
        return None
    try:
        if request.POST.get("select_across") == "1":
            selection = Selection.of_query(dict(request.GET.lists()))
        else:
            selection = Selection.of_ids(rows.values_list("pk", flat=True)[: MOST_IDS + 1])
    except BadSelection as error:
        model_admin.message_user(request, str(error), messages.ERROR)
        return None
    answer: HttpResponse = site.get_model_admin(RedriveOperation).ask(
        request, selection, RampForm()
    )
    return answer


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


class RedriveOperationAdmin(ReadOnlyAdmin):
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

    def has_redrive_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("reliable_effects.redrive_delivery")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Who may begin one may see what becomes of it.
        return super().has_view_permission(request, obj) or self.has_redrive_permission(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return super().has_module_permission(request) or self.has_redrive_permission(request)

    # The preview, and the beginning

    # Not in the project's transaction per request: MariaDB can make only a whole one read-only.
    @method_decorator(transaction.non_atomic_requests)
    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def add(self, request: HttpRequest) -> HttpResponse:
        if not self.has_redrive_permission(request):
            raise PermissionDenied
        try:
            if request.method == "POST":
                stored = _read_json(request.POST.get("selection", ""))
                return self._begin(request, Selection.from_json(stored))
            return self.ask(request, Selection.of_query(dict(request.GET.lists())), RampForm())
        except BadSelection as error:
            return self._render(request, {"problem": str(error)}, status=400)

    def ask(self, request: HttpRequest, selection: Selection, form: RampForm) -> HttpResponse:
        """The page that says what would be done. Nothing is done by it."""
        using = _database()
        selection = self._as_seen(request, selection, using)
        told = preview(selection, using)
        counted = told.counted
        return self._render(
            request,
            {
                "said": _said(selection.in_words(), selection, using),
                "selection": json.dumps(selection.to_json()),
                "told": told,
                "asked_at_most": AT_MOST,
                "seconds": int(PATIENCE.total_seconds()),
                "takes": shown.span(takes(counted, form.said_rate)) if counted else "",
                "at_least": told.is_sample and told.size.endswith("+"),
                "form": form,
            },
        )

    def _begin(self, request: HttpRequest, selection: Selection) -> HttpResponse:
        using = _database()
        form = RampForm(request.POST)
        if not form.is_valid():
            return self.ask(request, selection, form)
        selection = self._as_seen(request, selection, using)
        if twin := operations.going_on(using, selection):
            told = "This was begun already: here it is. Nothing else was begun."
            self.message_user(request, told, messages.WARNING)
            return self._to_page(twin)
        # The operation and who asked for it share one fate.
        with transaction.atomic(using=using):
            row = operations.begin(
                using, selection, by=request.user.get_username(), **form.cleaned_data
            )
            self.log_addition(request, row, f"Begun: {row.said}. {row.why}")
        told = (
            f"Redrive operation {row.pk} has begun; workers go on with it, also without this page."
        )
        self.message_user(request, told, messages.SUCCESS)
        return self._to_page(row)

    def _as_seen(self, request: HttpRequest, selection: Selection, using: str) -> Selection:
        """
        No more than this person's list shows.

        Where a project narrows it for them, the filters would mean more in the sweep, which knows of
        no person: then it is the ids.
        """
        if not self.admin_site.is_registered(Delivery):
            return selection
        theirs = self.admin_site.get_model_admin(Delivery).get_queryset(request).using(using)
        if not theirs.query.where:
            return selection
        ids = theirs.filter(pk__in=selection.chosen(using).values("pk")).values_list(
            "pk", flat=True
        )
        found = list(ids[: MOST_IDS + 1])
        if len(found) > MOST_IDS:
            raise BadSelection(
                f"You see a part of the deliveries; of those at most {MOST_IDS} at a time."
            )
        return Selection.of_ids(found)

    def _render(
        self, request: HttpRequest, context: dict[str, Any], *, status: int = 200
    ) -> HttpResponse:
        request.current_app = self.admin_site.name  # read by {% url %}
        page = {
            **self.admin_site.each_context(request),
            "title": "Redrive gradually",
            "opts": self.opts,
            "media": self.media,
            **context,
        }
        return TemplateResponse(
            request, "reliable_effects/admin/redrive_add.html", page, status=status
        )

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
            return self._to_page(row)
        why = form.cleaned_data["why"]
        with transaction.atomic(using=row._state.db):
            won = how.do(row, by=request.user.get_username(), why=why)
            if won:
                self.log_change(request, row, f"{how.done.capitalize()}: {why}")
        told = f"It is {how.done}." if won else "It is no longer in a state for that."
        self.message_user(request, told, messages.SUCCESS if won else messages.WARNING)
        return self._to_page(row)

    def _to_page(self, row: RedriveOperation) -> HttpResponse:
        return HttpResponseRedirect(
            reverse(
                "admin:reliable_effects_redriveoperation_change",
                args=[row.pk],
                current_app=self.admin_site.name,
            )
        )

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
        return _said(row.said, selection, str(row._state.db))

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


def _database() -> str:
    """Where deliveries can be changed."""
    return str(remedy.on_writer(Delivery.objects.all()).db)


def _said(words: str, selection: Selection, using: str) -> str:
    """*words*, and which failure the group is of: nobody knows it by its fingerprint."""
    if not selection.group:
        return words
    group = FailureGroup.objects.using(using).filter(fingerprint=selection.group).first()
    return f"{words}: {group}" if group else words


def _read_json(text: str) -> Any:
    try:
        return json.loads(text) if len(text) <= _LONGEST else None
    except (ValueError, RecursionError):
        return None


def register(site: AdminSite) -> None:
    """As `reliable_effects.outbox.admin.register`, for sites of your own."""
    site.register(RedriveOperation, RedriveOperationAdmin)
    offer(redrive_gradually)
