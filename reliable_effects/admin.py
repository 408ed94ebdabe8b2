"""
Where Django looks for our admin pages. `register` puts them on other sites as well.

`JobActions` is for the admin of a project's own models of jobs, `EffectsAdminMixin` for that of any
model that events are about.
"""

from __future__ import annotations

from django.contrib import admin

from .console.catalogue.admin import register as register_effects
from .console.groups.admin import register as register_groups
from .console.on_pages import EffectsAdminMixin
from .console.redriving.admin import register as register_redrives
from .console.timeline.admin import register as register_page_of_delivery
from .idempotency.admin import register as register_idempotency
from .inbox.admin import register as register_inbox
from .outbox.admin import register as register_outbox
from .outgoing.admin import register as register_calls
from .reconcile.admin import register as register_reconcile
from .reports.admin import register as register_reports
from .schedule.admin import JobActions
from .schedule.admin import register as register_jobs
from .watch.admin import register as register_watch

__all__ = ["EffectsAdminMixin", "JobActions", "register"]

_PARTS = (
    register_effects,
    register_outbox,
    register_groups,
    register_page_of_delivery,
    register_calls,
    register_jobs,
    register_reconcile,
    register_watch,
    register_inbox,
    register_idempotency,
    register_reports,
    register_redrives,
)


def register(site: admin.AdminSite) -> None:
    """Put all our pages on *site*: for projects with admin sites of their own."""
    for part in _PARTS:
        part(site)


register(admin.site)
