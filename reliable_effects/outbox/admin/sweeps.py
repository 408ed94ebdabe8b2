"""The page of the sweeps' heartbeats."""

from __future__ import annotations

from django.contrib import admin

from ..models import Sweep
from . import looks
from .pages import ReadOnlyAdmin


class SweepAdmin(ReadOnlyAdmin):
    list_display = ("name", "ran", "seen", "done", "truncated")
    ordering = ("name",)
    fields = readonly_fields = ("name", "ran", "seen", "done", "truncated")

    @admin.display(description="ran")
    def ran(self, row: Sweep) -> str:
        return looks.moment(row.ran_at)
