"""
How a redrive of many begins: chosen in the list of deliveries, previewed, confirmed with a reason.

The preview changes nothing. What the page brings back is read again as a stranger's.
"""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_http_methods

from ...outbox import remedy
from ...outbox.admin.pages import ReadOnlyAdmin
from ...outbox.models import Delivery
from . import operations, shown
from .forms import RampForm
from .models import RedriveOperation
from .preview import AT_MOST, PATIENCE, preview
from .ramp import takes
from .selection import AT_MOST as MOST_IDS
from .selection import BadSelection, Selection

LONGEST = 300_000  # characters of a selection that a page brings back


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
        ours: Beginning = site.get_model_admin(RedriveOperation)
        return ours.ask(request, selection, RampForm())
    except BadSelection as error:
        model_admin.message_user(request, str(error), messages.ERROR)
        return None


class Beginning(ReadOnlyAdmin):
    """The page that asks, and begins what was asked for."""

    def has_redrive_permission(self, request: HttpRequest) -> bool:
        """Who redrives sees what: the pages name deliveries, and what became of them."""
        may = request.user.has_perm
        return may("reliable_effects.redrive_delivery") and may("reliable_effects.view_delivery")

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
        # As attempts are: who may not see those does not read errors here, either.
        may_see = request.user.has_perm("reliable_effects.view_attempt")
        told = preview(selection, using, tells_errors=may_see)
        counted = told.counted
        return self._render(
            request,
            {
                "said": shown.chosen(selection.in_words(), selection, using),
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
            return self.to_page(twin)
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
        return self.to_page(row)

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

    def to_page(self, row: RedriveOperation) -> HttpResponse:
        return HttpResponseRedirect(
            reverse(
                "admin:reliable_effects_redriveoperation_change",
                args=[row.pk],
                current_app=self.admin_site.name,
            )
        )


def _database() -> str:
    """Where deliveries can be changed."""
    return str(remedy.on_writer(Delivery.objects.all()).db)


def _read_json(text: str) -> Any:
    try:
        return json.loads(text) if len(text) <= LONGEST else None
    except (ValueError, RecursionError):
        return None
