"""
Reports as people see them: versions, who downloaded, why the last build failed; and two things to
do. Rebuild has a permission of its own, is a POST and wants a reason. What is in a report is shown
to nobody here whom its own `allowed=` does not let read it.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.views.decorators.http import require_GET, require_POST

from ..clock import DbNow, spoken
from ..outbox.admin import looks
from ..outbox.admin.pages import ReadOnlyAdmin
from ..outbox.models import Attempt, Delivery
from .asking import Standing, ask, last_build
from .compare_page import as_declared, compare, took
from .definition import definition
from .models import Report, ReportVersion, VersionState
from .serve import report_response

_SHOWN = 50  # rows of a table on a report's page


class WhyForm(forms.Form):
    """What the audit entry needs to know."""

    why = forms.CharField(label="Reason", max_length=500)


class ReportAdmin(ReadOnlyAdmin):
    list_display = ("name", "shown_parameters", "built", "shown_size", "last")
    list_select_related = ("current",)
    list_filter = ("name",)
    ordering = ("name", "id")
    change_form_template = "reliable_effects/admin/report.html"
    readonly_fields = (
        "name", "shown_parameters", "last", "how_far", "why_it_failed", "delivery", "built",
        "shown_size", "versions", "downloads",
    )  # fmt: skip

    def get_fields(self, request: HttpRequest, _obj: Report | None = None) -> Any:
        own = {"versions": "view_reportversion", "downloads": "view_reportdownload"}
        may = request.user.has_perm
        return [
            name
            for name in self.readonly_fields
            if name not in own or may(f"reliable_effects.{own[name]}")
        ]

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("<path:pk>/rebuild/", wrap(self.rebuild), name="reliable_effects_report_rebuild"),
            path("<path:pk>/read/", wrap(self.read), name="reliable_effects_report_read"),
            path(
                "<path:pk>/compare/<int:number>/",
                wrap(self.compare),
                name="reliable_effects_report_compare",
            ),
            *super().get_urls(),
        ]

    def has_rebuild_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("reliable_effects.rebuild_report")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {
            "may_rebuild": self.has_rebuild_permission(request),
            "why": WhyForm(),
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)

    # To be done

    @method_decorator(require_POST)
    def rebuild(self, request: HttpRequest, pk: str) -> HttpResponse:
        """Have it built now, whatever its age, and however lately that failed."""
        row = self._row(request, pk)
        if not self.has_rebuild_permission(request):
            raise PermissionDenied
        known = definition(row.name)
        form = WhyForm(request.POST)
        if known is None:
            self.message_user(request, "This release has no such report.", messages.ERROR)
        elif not form.is_valid():
            self.message_user(request, "Say why: nothing was asked for.", messages.ERROR)
        else:
            # The build and who asked for it share one fate.
            with transaction.atomic(using=row._state.db):
                won = ask(known, row, anyway=True)
                if won:
                    self.log_change(request, row, f"Rebuild: {form.cleaned_data['why']}")
            told = "A worker builds it soon." if won else "It is being built already."
            self.message_user(request, told, messages.SUCCESS if won else messages.WARNING)
        return HttpResponseRedirect(
            reverse("admin:reliable_effects_report_change", args=[row.pk], current_app=self._site)
        )

    @method_decorator(require_GET)
    def read(self, request: HttpRequest, pk: str) -> HttpResponseBase:
        """The report itself: asked and written down as for any other reader."""
        known, arguments = as_declared(self._row(request, pk))
        return report_response(request, known, **arguments)

    @method_decorator(require_GET)
    def compare(self, request: HttpRequest, pk: str, number: int) -> HttpResponse:
        """A version and the one before; for whom may read both."""
        return compare(self, request, self._row(request, pk), number)

    def _row(self, request: HttpRequest, pk: str) -> Report:
        if not self.has_view_permission(request):
            raise PermissionDenied
        # Through get_queryset, so that a project's own narrowing holds here, too.
        found = self.get_object(request, unquote(pk))
        if found is None:
            raise Http404("No such report.")
        row: Report = found
        return row

    @property
    def _site(self) -> str:
        return self.admin_site.name

    # To be seen

    def get_queryset(self, request: HttpRequest) -> QuerySet[Report]:
        when: dict[str, Any] = {"read_at": DbNow()}
        rows: QuerySet[Report] = super().get_queryset(request)
        return rows.annotate(**when)

    @admin.display(description="parameters")
    def shown_parameters(self, row: Report) -> str:
        return looks.payload(row.name, row.parameters)

    @admin.display(description="served version is of")
    def built(self, row: Report) -> str:
        return looks.instant(row.current.started_at) if row.current else looks.NOTHING

    @admin.display(description="size")
    def shown_size(self, row: Report) -> str:
        return filesizeformat(row.current.size) if row.current else looks.NOTHING

    @admin.display(description="last build")
    def last(self, row: Report) -> str:
        if not row.asked:
            return "never asked for"
        standing = last_build(row).standing
        name = "built" if standing is Standing.IDLE else standing.value
        return looks.badge(name)

    @admin.display(description="why the last build failed")
    def why_it_failed(self, row: Report) -> str:
        delivery = last_build(row).delivery
        if delivery is None:
            return looks.NOTHING
        tries = Attempt.objects.using(delivery._state.db).filter(delivery=delivery)
        latest = tries.order_by("-pk").first()
        if latest is None:
            return looks.NOTHING
        told = f"{latest.exception_type}: {latest.message}" if latest.exception_type else ""
        return format_html(
            "Attempt {} {}, {}{}",
            latest.number, latest.get_outcome_display(), looks.moment(latest.ended_at),
            looks.pre(told) if told else "",
        )  # fmt: skip

    @admin.display(description="how far it is")
    def how_far(self, row: Report) -> str:
        if last_build(row).standing is not Standing.BUILDING:
            return looks.NOTHING
        versions = row.versions.filter(number=row.asked, state=VersionState.BUILDING)
        version = versions.order_by("-pk").first()
        if version is None:
            return "It waits for a worker."
        told = (
            f"{version.rows:,} rows, {filesizeformat(version.size)},"
            f" begun {spoken(row.read_at - version.started_at)} ago"
        )
        before = row.current.rows if row.current is not None else 0
        if not before:
            return told
        return format_html(
            '<progress class="re-progress" max="{}" value="{}" aria-label="Rows, of those of the'
            ' last version"></progress> {}; the last version has {} rows',
            before, min(version.rows, before), told, f"{before:,}",
        )  # fmt: skip

    @admin.display(description="its delivery")
    def delivery(self, row: Report) -> str:
        found = last_build(row).delivery
        return looks.page(Delivery, found.pk, str(found), self._site) if found else looks.NOTHING

    @admin.display(description="versions")
    def versions(self, row: Report) -> str:
        newest = row.versions.order_by("-number", "-pk")[:_SHOWN]
        heads = ("build", "state", "data of", "took", "rows", "size", "SHA-256", "compare")
        shown = list(newest)
        ready = [version.number for version in shown if version.state == VersionState.READY]
        cells = [(*_told(version), self._comparison(row, version, ready)) for version in shown]
        return looks.table(heads, cells)

    def _comparison(self, row: Report, version: ReportVersion, ready: list[int]) -> str:
        if version.state != VersionState.READY or version.number <= min(ready):
            return looks.NOTHING
        address = reverse(
            "admin:reliable_effects_report_compare",
            args=[row.pk, version.number],
            current_app=self._site,
        )
        before = max(number for number in ready if number < version.number)
        return format_html('<a href="{}">with build {}</a>', address, before)

    @admin.display(description="downloads")
    def downloads(self, row: Report) -> str:
        latest = row.downloads.order_by("-pk")[:_SHOWN]
        cells = [(looks.instant(d.at), d.user or "-", d.number, d.how) for d in latest]
        return looks.table(("at", "by", "build", "how"), cells)


def _told(version: ReportVersion) -> tuple[Any, ...]:
    return (
        version.number,
        VersionState(version.state).label,
        looks.instant(version.started_at),
        took(version),
        version.rows,
        filesizeformat(version.size),
        version.sha256[:12],
    )


def register(site: AdminSite) -> None:
    """As `reliable_effects.outbox.admin.register`, for sites of your own."""
    site.register(Report, ReportAdmin)
