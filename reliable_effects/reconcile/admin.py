"""The pages of walks and of the coverage: read-only, and bounded as all our pages are."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin import AdminSite

from ..outbox.admin import looks
from ..outbox.admin.pages import ReadOnlyAdmin
from .findings import Finding
from .models import Coverage, CoverageQuerySet, Walk


class WalkAdmin(ReadOnlyAdmin):
    list_display = (
        "shown_effect",
        "tier",
        "ended",
        "looked",
        "seen",
        "promised",
        "reopened",
        "state",
    )
    ordering = ("effect", "tier")
    fields = readonly_fields = (
        "shown_effect", "tier", "state", "began", "ended", "looked", "what_was_found", "seen",
        "promised", "reopened", "shown_problem",
    )  # fmt: skip

    @admin.display(description="effect")
    def shown_effect(self, row: Walk) -> str:
        return row.effect or "all effects"

    @admin.display(description="state")
    def state(self, row: Walk) -> str:
        if row.problem:
            return "failed"
        return "under way" if row.is_under_way else "at its end"

    @admin.display(description="began")
    def began(self, row: Walk) -> str:
        return looks.instant(row.began_at)

    @admin.display(description="last whole walk ended")
    def ended(self, row: Walk) -> str:
        return looks.moment(row.ended_at)

    @admin.display(description="last turn")
    def looked(self, row: Walk) -> str:
        return looks.moment(row.looked_at)

    @admin.display(description="what the last whole walk found")
    def what_was_found(self, row: Walk) -> str:
        counts = row.found if isinstance(row.found, dict) else {}
        return looks.table(
            ("found", "rows", "that is"),
            (
                (finding, str(counts[finding]), finding.label)
                for finding in Finding
                if finding in counts
            ),
        )

    @admin.display(description="problem")
    def shown_problem(self, row: Walk) -> str:
        return looks.pre(row.problem)


class CoverageAdmin(ReadOnlyAdmin):
    list_display = fields = readonly_fields = (
        "day", "effect", "expected", "in_time", "late", "missing", "waiting", "poisoned",
        "uncertain", "given_up", "contradicted", "unexpected",
    )  # fmt: skip
    ordering = ("-day", "effect")
    date_hierarchy = "day"

    def get_queryset(self, request: object) -> CoverageQuerySet:
        return CoverageQuerySet.with_expected(super().get_queryset(request))  # type: ignore[arg-type]

    @admin.display
    def expected(self, row: Coverage) -> int:
        return int(getattr(row, "expected", 0))


def register(site: AdminSite) -> None:
    """Put our pages on *site*: for projects with admin sites of their own."""
    site.register(Walk, WalkAdmin)
    site.register(Coverage, CoverageAdmin)
