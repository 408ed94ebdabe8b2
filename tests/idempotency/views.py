"""Views that a client may ask twice. Each writes an order, and what it is told to."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

from reliable_effects.idempotency import idempotent
from tests.shop.events import order_placed
from tests.shop.models import Order

runs: list[str] = []
"""One line for each time a view ran."""

plan: dict[str, Any] = {}
"""What the next runs do: tests fill it."""


def acts(request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
    """Place an order, then do as `plan` says."""
    runs.append(request.path)
    order = Order.objects.create()
    order_placed.emit(order)
    if "then" in plan:
        return plan["then"](request, order)
    response = JsonResponse({"order": order.pk, "run": len(runs)}, status=201)
    response["Location"] = f"/orders/{order.pk}"
    return response


def raises(request: HttpRequest, order: Order) -> HttpResponse:
    raise plan["error"]


def with_status(request: HttpRequest, order: Order) -> HttpResponse:
    return HttpResponse(f"status:{plan['status']}", status=plan["status"])


place = csrf_exempt(idempotent(acts))
required = csrf_exempt(idempotent(required=True)(acts))
strict = csrf_exempt(idempotent(strict=True)(acts))
public = csrf_exempt(idempotent(anonymous=True)(acts))
kept_5xx = csrf_exempt(idempotent(replay_5xx=True)(acts))
as_json = csrf_exempt(idempotent(fingerprint="json")(acts))
foreign = csrf_exempt(idempotent(foreign=True, lease=timedelta(seconds=30))(acts))
