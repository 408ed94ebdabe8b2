"""A project whose own model of jobs has our actions."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from reliable_effects.admin import JobActions
from tests.shop.models import TrialExpiry

site = admin.AdminSite(name="trials")


@admin.register(TrialExpiry, site=site)
class TrialExpiryAdmin(JobActions, admin.ModelAdmin):
    list_display = ("order", "plan", "at", "state")


urlpatterns = [path("trials/", site.urls), path("admin/", admin.site.urls)]
