from __future__ import annotations

from django.urls import path
from health_check.views import HealthCheckView

urlpatterns = [
    path("health", HealthCheckView.as_view(checks=["reliable_effects.watch.health_check.Effects"]))
]
