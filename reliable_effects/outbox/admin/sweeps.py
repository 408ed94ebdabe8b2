"""The page of the sweeps' heartbeats."""

from __future__ import annotations

from django.contrib import admin

from ..models import Sweep
from . import looks
from .pages import ReadOnlyAdmin


class SweepAdmin(ReadOnlyAdmin):
    list_display = ("name", "ran", "seen", "done", "truncated", "truncated_runs")
    ordering = ("name",)
    fields = readonly_fields = (
        "name", "ran", "seen", "done", "truncated", "truncated_runs", "cut_short", "rows", "empty",
    )  # fmt: skip

    @admin.display(description="ran")
    def ran(self, row: Sweep) -> str:
        return looks.moment(row.ran_at)

    @admin.display(description="each run was cut short since")
    def cut_short(self, row: Sweep) -> str:
        return looks.moment(row.truncated_since)

    @admin.display(description="each run has seen rows since")
    def rows(self, row: Sweep) -> str:
        return looks.moment(row.rows_since)

    @admin.display(description="no run has seen any since")
    def empty(self, row: Sweep) -> str:
        return looks.moment(row.empty_since)
