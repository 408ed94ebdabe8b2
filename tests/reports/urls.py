"""One view, as a project would write it."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from reliable_effects.reports import report_response
from reliable_effects.reports.definition import definition

NAME = "test.served"


def usage(request, customer: int, serve: str = "auto"):
    return report_response(request, definition(NAME), serve=serve, customer=customer)


urlpatterns = [
    path("usage/<int:customer>/", usage),
    path("streamed/<int:customer>/", usage, {"serve": "stream"}),
    path("admin/", admin.site.urls),
]
