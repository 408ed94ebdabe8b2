"""Routes outside the guard: they prepare a case, and look at what it left."""

from __future__ import annotations

from django.contrib.auth import get_user_model, login
from django.contrib.auth.models import Permission
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_GET, require_POST

from example_project.conformance.events import row_added
from example_project.conformance.lanes import Lane
from example_project.conformance.models import Row
from reliable_effects.models import IdempotencyRecord, OutboxEvent

_DONE = 204


@require_POST
def reset(_: HttpRequest, lane: str) -> HttpResponse:
    Lane(lane).reset()
    return HttpResponse(status=_DONE)


@require_POST
def arm(request: HttpRequest, lane: str) -> HttpResponse:
    """The next handler that can will crash: before-commit, after-commit, after-send, …"""
    Lane(lane).arm(request.GET["crash"])
    return HttpResponse(status=_DONE)


@require_POST
def log_in(request: HttpRequest, lane: str) -> HttpResponse:
    """A session for ?user=, who is made where there is none, and may see the secret."""
    user, _ = get_user_model().objects.get_or_create(username=_name(request, lane))
    user.user_permissions.add(_permission())
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse(status=_DONE)


@require_POST
def revoke(request: HttpRequest, lane: str) -> HttpResponse:
    user = get_user_model().objects.get(username=_name(request, lane))
    user.user_permissions.remove(_permission())
    return HttpResponse(status=_DONE)


@require_GET
@transaction.non_atomic_requests  # on SQLite it would wait for the handler that it asks about
def runs(_: HttpRequest, lane: str) -> HttpResponse:
    return JsonResponse({"count": Lane(lane).runs})


@require_GET
def rows(_: HttpRequest, lane: str) -> HttpResponse:
    """Rows and effects that were committed; an effect whose row is gone counts too."""
    events = OutboxEvent.objects.filter(name=row_added.name).values_list("payload", flat=True)
    return JsonResponse(
        {
            "rows": Row.objects.filter(lane=lane).count(),
            "effects": sum(payload.get("lane") == lane for payload in events),
        }
    )


@require_GET
def store(_: HttpRequest, lane: str) -> HttpResponse:  # noqa: ARG001  # keys know no lanes
    """All that the guard has stored, every column of it, bytes as they are."""
    lines = [
        b" ".join(
            bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
            for value in record
        )
        for record in IdempotencyRecord.objects.values_list()
    ]
    return HttpResponse(b"\n".join(lines), content_type="text/plain")


def _name(request: HttpRequest, lane: str) -> str:
    return f"{lane}-{request.GET['user']}"


def _permission() -> Permission:
    return Permission.objects.get(codename="see_secret", content_type__app_label="conformance")
