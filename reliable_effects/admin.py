"""
Where Django looks for our admin pages. Other sites: the `register` of each folder's `admin`.

`JobActions` is for the admin of a project's own models of jobs, `EffectsAdminMixin` for that of any
model that events are about.
"""

from __future__ import annotations

from django.contrib import admin

from .console.catalogue.admin import register as register_effects
from .console.on_pages import EffectsAdminMixin
from .idempotency.admin import register as register_idempotency
from .inbox.admin import register as register_inbox
from .outbox.admin import register as register_outbox
from .outgoing.admin import register as register_calls
from .reconcile.admin import register as register_reconcile
from .reports.admin import register as register_reports
from .schedule.admin import JobActions
from .schedule.admin import register as register_jobs
from .watch.admin import register as register_watch

__all__ = ["EffectsAdminMixin", "JobActions"]

for register in (
    register_effects,
    register_outbox,
    register_calls,
    register_jobs,
    register_reconcile,
    register_watch,
    register_inbox,
    register_idempotency,
    register_reports,
):
    register(admin.site)
