"""Django's own admin site, and two that a project made: one with all our pages, one with few."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from reliable_effects.outbox.admin import register as register_outbox
from reliable_effects.outbox.models import Sweep
from reliable_effects.watch.admin import register as register_watch

operators = admin.AdminSite(name="operators")
register_outbox(operators)
register_watch(operators)

sparse = admin.AdminSite(name="sparse")
sparse.register(Sweep)

urlpatterns = [
    path("admin/", admin.site.urls),
    path("operators/", operators.urls),
    path("sparse/", sparse.urls),
]
