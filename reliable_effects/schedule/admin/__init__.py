"""
What people see of scheduled jobs, and the remedies they have: run now, reschedule and cancel.

`JobActions` gives the same remedies to the admin of a project's own model of jobs.
"""

from __future__ import annotations

from django.contrib.admin import AdminSite

from ..models import ScheduledJob
from .actions import JobActions
from .jobs import ScheduledJobAdmin

__all__ = ["JobActions", "ScheduledJobAdmin", "register"]


def register(site: AdminSite) -> None:
    """Put our page on *site*: for projects with admin sites of their own."""
    site.register(ScheduledJob, ScheduledJobAdmin)
