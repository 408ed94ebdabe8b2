"""`path("effects/", include("reliable_effects.watch.urls"))`: /effects/health and below."""

from __future__ import annotations

from django.urls import path

from . import views

app_name = "reliable_effects"

urlpatterns = [
    path("health", views.effects, name="health"),
    path("health/database", views.databases, name="health_database"),
]
