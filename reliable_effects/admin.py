"""
Where Django looks for our admin pages. Other sites: the `register` of each folder's `admin`.

`JobActions` is for the admin of a project's own models of jobs.
"""

from __future__ import annotations

from django.contrib import admin

from .console.groups.admin import register as register_groups
from .console.redriving.admin import register as register_redrives
from .idempotency.admin import register as register_idempotency
from .inbox.admin import register as register_inbox
from .outbox.admin import register as register_outbox
from .outgoing.admin import register as register_calls
from .reconcile.admin import register as register_reconcile
from .reports.admin import register as register_reports
from .schedule.admin import JobActions
from .schedule.admin import register as register_jobs
from .watch.admin import register as register_watch

__all__ = ["JobActions"]

for register in (
    register_outbox,
    register_groups,
    register_calls,
    register_jobs,
    register_reconcile,
    register_watch,
    register_inbox,
    register_idempotency,
    register_reports,
    register_redrives,
):
    register(admin.site)
