"""The admin where it usually is, and one of a project's own: another name, another address."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from reliable_effects.admin import register

office = admin.AdminSite(name="back-office")
register(office)

urlpatterns = [path("admin/", admin.site.urls), path("staff/only/", office.urls)]
SITES = (admin.site, office)
