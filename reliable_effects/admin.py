"""Where Django looks for our admin pages. Other sites: call the same functions with them."""

from __future__ import annotations

from django.contrib import admin

from .outbox.admin import register as register_outbox
from .reconcile.admin import register as register_reconcile

for register in (register_outbox, register_reconcile):
    register(admin.site)
