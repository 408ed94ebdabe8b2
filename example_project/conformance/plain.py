"""The routes as plain Django views: permission first, then the guard, then the handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

from example_project.conformance.lanes import Lane
from example_project.conformance.routes import Route
from reliable_effects.idempotency import idempotent


def view(route: Route) -> Callable[..., HttpResponse]:
    @idempotent(**route.options)
    def guarded(request: HttpRequest, lane: str, **arguments: Any) -> HttpResponse:
        return route.handler(request, Lane(lane), **arguments)

    made = guarded
    if route.permission:
        made = permission_required(route.permission, raise_exception=True)(made)
    return require_http_methods([route.method])(made)
