"""
What partners tell the shop by themselves, over HTTP: twice, in the wrong order, at the same moment.

A message is signed with a shared secret, is handled once, and what it says of a parcel counts only
where nothing newer is known. Promise: whatever order they come in, the shop ends as the last one
says, and a payment is captured in the books once.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from example_project.shop.models import Capture, Order
from reliable_effects.exceptions import MessageBusy, MessageConflicted
from reliable_effects.inbox import consume_once, only_newer

logger = logging.getLogger("example_project.shop")

_FRESH = 300  # seconds; what was signed longer ago may have been recorded by somebody


@csrf_exempt  # it is the signature that says who sends
@require_POST
def partners_webhook(request: HttpRequest) -> HttpResponse:
    if not is_signed(request):
        return HttpResponse("The signature is wrong, or too old.", status=401)
    try:
        handle(request.headers["Webhook-Id"], request.body)
    except (MessageBusy, Order.DoesNotExist):
        # Somebody is at it, or our own order is not committed yet.
        return HttpResponse("Come again.", status=503, headers={"Retry-After": "1"})
    except MessageConflicted as error:
        return HttpResponse(str(error), status=409)
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError):
        logger.exception("a partner's message cannot be read")
        return HttpResponse("This cannot be read.", status=400)
    return HttpResponse(status=204)


def is_signed(request: HttpRequest) -> bool:
    """Whether the body came from somebody who knows the secret, and lately."""
    message_id = request.headers.get("Webhook-Id", "")
    stamp = request.headers.get("Webhook-Timestamp", "")
    given = request.headers.get("Webhook-Signature", "")
    if not (message_id and stamp.isascii() and stamp.isdecimal() and len(stamp) <= 12):
        return False
    signed = b".".join((message_id.encode(), stamp.encode(), request.body))
    right = hmac.new(settings.WEBHOOK_SECRET.encode(), signed, hashlib.sha256).hexdigest()
    # In constant time: else the time says how many letters of a guess are right.
    is_right = hmac.compare_digest(f"v1={right}".encode(), given.encode())
    return is_right and abs(time.time() - int(stamp)) <= _FRESH


@consume_once("partners", redelivered_for=timedelta(minutes=10))
def handle(message_id: str, payload: bytes) -> None:  # noqa: ARG001  # says which message it is
    told = json.loads(payload)
    match told["type"]:
        case "payment.captured":
            _book(told)
        case "parcel.moved":
            _move(told)
        case str():
            # Partners tell of more each year; a refusal would make them send it for days.
            logger.info("nothing follows from %r", told["type"])
        case _:
            raise TypeError("type")


def _book(told: dict[str, Any]) -> None:
    order = Order.objects.get(reference=_cleaned(Order, "reference", told["order"]))
    booked = Capture(order=order, charge_id=told["charge"], amount=told["amount"])
    # Before the database is asked: each has errors of its own for what a column cannot keep.
    booked.full_clean()
    booked.save()


def _move(told: dict[str, Any]) -> None:
    _cleaned(Order, "parcel_version", told["version"])
    only_newer(
        Order.objects.filter(reference=_cleaned(Order, "reference", told["order"])),
        version=told["version"],
        field="parcel_version",
        parcel_status=_cleaned(Order, "parcel_status", told["status"]),
    )


def _cleaned(model: type[Model], field: str, value: Any) -> Any:
    if not isinstance(value, str | int):
        raise TypeError(field)
    return model._meta.get_field(field).clean(value, None)
