"""Two admin sites: Django's own, and one that a project made for its operators."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from reliable_effects.outbox.admin import register

operators = admin.AdminSite(name="operators")
register(operators)

urlpatterns = [path("admin/", admin.site.urls), path("operators/", operators.urls)]
