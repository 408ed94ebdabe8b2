"""What each route does, whoever guards it: plain Django and REST framework views both call these."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Iterator

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse

from example_project.conformance.events import row_added
from example_project.conformance.lanes import Lane
from example_project.conformance.models import Row

_PDF = b"%PDF-1.7\n\x00\xff\xfe binary, and no text in any encoding \x80\n%%EOF\n"


class Boom(Exception):
    """A handler that fails, as they do."""


def echo(request: HttpRequest, lane: Lane) -> HttpResponse:
    lane.count_run()
    media_type = request.content_type or "application/octet-stream"
    return HttpResponse(request.body, status=201, content_type=media_type)


def status(_: HttpRequest, lane: Lane, code: int) -> HttpResponse:
    lane.count_run()
    return HttpResponse(f"status:{code}", status=code, content_type="text/plain")


def first(_: HttpRequest, lane: Lane, code: int) -> HttpResponse:
    """*code* for the first run since the reset, then 201."""
    return HttpResponse(status=code if lane.count_run() == 1 else 201, content_type="text/plain")


def slow(request: HttpRequest, lane: Lane) -> HttpResponse:
    lane.count_run()
    milliseconds = int(request.GET.get("ms", "0"))
    time.sleep(milliseconds / 1000)
    return HttpResponse(f"slept:{milliseconds}", content_type="text/plain")


def large(request: HttpRequest, lane: Lane) -> HttpResponse:
    lane.count_run()
    body = b"x" * int(request.GET.get("bytes", "0"))
    return HttpResponse(body, content_type="application/octet-stream")


def binary(_: HttpRequest, lane: Lane) -> HttpResponse:
    lane.count_run()
    return HttpResponse(_PDF, content_type="application/pdf")


def stream(_: HttpRequest, lane: Lane) -> StreamingHttpResponse:
    lane.count_run()
    return StreamingHttpResponse(_parts(), content_type="text/plain")


def _parts() -> Iterator[bytes]:
    for number in range(3):
        yield f"part {number}\n".encode()


def upload(request: HttpRequest, lane: Lane) -> HttpResponse:
    lane.count_run()
    files = [
        {"name": file.name, "sha256": hashlib.sha256(file.read()).hexdigest()}
        for file in request.FILES.values()
    ]
    return JsonResponse({"files": files}, status=201)


def cookie(_: HttpRequest, lane: Lane) -> HttpResponse:
    """An answer that carries what only its first reader may have."""
    lane.count_run()
    response = HttpResponse("signed in", content_type="text/plain")
    response.set_cookie("sid", "session-secret", httponly=True)
    response["Authorization"] = "Bearer bearer-secret"
    response["X-Api-Token"] = "token-secret"
    return response


def secret(request: HttpRequest, lane: Lane) -> HttpResponse:
    lane.count_run()
    return HttpResponse(f"the secret of {request.user}", content_type="text/plain")


def db(_: HttpRequest, lane: Lane) -> HttpResponse:
    """A row and an effect; where a crash is armed, the worker process dies at that point."""
    lane.count_run()
    crash = lane.disarm("before-commit", "after-commit")
    if crash == "after-commit":
        transaction.on_commit(_die)
    row = _add_row(lane)
    if crash == "before-commit":
        _die()
    return JsonResponse({"row": row.pk}, status=201)


def outlive(_: HttpRequest, lane: Lane) -> HttpResponse:
    """Sleeps for longer than its lease, then writes."""
    lane.count_run()
    time.sleep(2.5)
    return JsonResponse({"row": _add_row(lane).pk}, status=201)


def raise_(_: HttpRequest, lane: Lane) -> HttpResponse:
    lane.count_run()
    _add_row(lane)
    raise Boom


def raise_once(_: HttpRequest, lane: Lane) -> HttpResponse:
    number = lane.count_run()
    row = _add_row(lane)
    if number == 1:
        raise Boom
    return JsonResponse({"row": row.pk}, status=201)


def foreign(request: HttpRequest, lane: Lane) -> HttpResponse:
    """Calls a partner in the request; what is armed happens when the partner may have acted."""
    lane.count_run()
    request.idempotency.mark_sent()
    crash = lane.disarm("after-send", "raise-after-send")
    if crash == "after-send":
        _die()
    if crash:
        raise Boom
    return HttpResponse("the partner said yes", status=201, content_type="text/plain")


def counter(_: HttpRequest, lane: Lane) -> HttpResponse:
    return JsonResponse({"count": lane.runs})


def _add_row(lane: Lane) -> Row:
    # Views run in a transaction already, but those that call partners do not.
    with transaction.atomic():
        row = Row.objects.create(lane=lane.name)
        row_added.emit(row, {"lane": lane.name})
    return row


def _die() -> None:
    """As the out-of-memory killer does it: nobody gets to tidy up."""
    os.kill(os.getpid(), signal.SIGKILL)
