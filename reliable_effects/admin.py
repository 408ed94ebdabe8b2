"""Where Django looks for our admin pages. Other sites: call the same `register` functions."""

from __future__ import annotations

from django.contrib import admin

from .outbox.admin import register as register_outbox
from .watch.admin import register as register_watch

register_outbox(admin.site)
register_watch(admin.site)
