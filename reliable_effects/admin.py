"""Where Django looks for our admin pages. Other sites: `reliable_effects.outbox.admin.register`."""

from __future__ import annotations

from django.contrib import admin

from .outbox.admin import register

register(admin.site)
