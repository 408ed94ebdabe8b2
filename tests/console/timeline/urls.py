"""Beside Django's own admin site one that a project made."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from reliable_effects.console.timeline.admin import register

ours = admin.AdminSite(name="ours")
register(ours)

urlpatterns = [path("admin/", admin.site.urls), path("ours/", ours.urls)]
