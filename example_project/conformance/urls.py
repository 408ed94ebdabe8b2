from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.urls import URLPattern, URLResolver, include, path

from example_project.conformance import control, drf, plain
from example_project.conformance.routes import ROUTES, Route


def _routes(view: Callable[[Route], Any]) -> list[URLPattern | URLResolver]:
    """All routes, once below /lanes/NAME/, so that cases may run side by side, and once without."""
    routes = [
        path("reset", control.reset),
        path("arm", control.arm),
        path("login", control.log_in),
        path("revoke", control.revoke),
        path("runs", control.runs),
        path("rows", control.rows),
        path("store", control.store),
        *[path(route.path, view(route)) for route in ROUTES],
    ]
    return [
        path("lanes/<slug:lane>/", include(routes)),
        path("", include(routes), {"lane": "main"}),
    ]


urlpatterns = [
    path("drf/", include(_routes(drf.view))),
    path("", include(_routes(plain.view))),
]
