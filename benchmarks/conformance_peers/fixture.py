"""
What the fixture routes do, for a server that has none of this project installed.

Standard library and Django only: this runs in the environment of the package that is tested. A
route is left out where a package has nothing to put there: strict keys, JSON that is compared, kept
server errors, leases, calls to partners, two retentions.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse

FOLDER = Path(os.environ["FIXTURE_DIR"])
_RUNS, _ARMED = FOLDER / "runs", FOLDER / "armed"
_PDF = b"%PDF-1.7\n\x00\xff\xfe binary, and no text in any encoding \x80\n%%EOF\n"


class Boom(Exception):
    """A handler that fails, as they do."""


def count_run() -> int:
    """Count one more; its number. A file, so that it does not roll back with the handler."""
    file = os.open(_RUNS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, b".")
        return os.lseek(file, 0, os.SEEK_CUR)
    finally:
        os.close(file)


def echo(request: HttpRequest) -> HttpResponse:
    count_run()
    return HttpResponse(request.body, status=201, content_type=request.content_type)


def status(_: HttpRequest, code: int) -> HttpResponse:
    count_run()
    return HttpResponse(f"status:{code}", status=code, content_type="text/plain")


def first(_: HttpRequest, code: int) -> HttpResponse:
    return HttpResponse(status=code if count_run() == 1 else 201, content_type="text/plain")


def slow(request: HttpRequest) -> HttpResponse:
    count_run()
    milliseconds = int(request.GET.get("ms", "0"))
    time.sleep(milliseconds / 1000)
    return HttpResponse(f"slept:{milliseconds}", content_type="text/plain")


def large(request: HttpRequest) -> HttpResponse:
    count_run()
    body = b"x" * int(request.GET.get("bytes", "0"))
    return HttpResponse(body, content_type="application/octet-stream")


def binary(_: HttpRequest) -> HttpResponse:
    count_run()
    return HttpResponse(_PDF, content_type="application/pdf")


def stream(_: HttpRequest) -> StreamingHttpResponse:
    count_run()
    return StreamingHttpResponse(iter([b"part 1\n", b"part 2\n"]), content_type="text/plain")


def upload(request: HttpRequest) -> HttpResponse:
    count_run()
    sums = [hashlib.sha256(file.read()).hexdigest() for file in request.FILES.values()]
    return JsonResponse({"files": sums}, status=201)


def cookie(_: HttpRequest) -> HttpResponse:
    count_run()
    response = HttpResponse("signed in", content_type="text/plain")
    response.set_cookie("sid", "session-secret", httponly=True)
    response["Authorization"] = "Bearer bearer-secret"
    response["X-Api-Token"] = "token-secret"
    return response


def secret(request: HttpRequest) -> HttpResponse:
    count_run()
    return HttpResponse(f"the secret of {request.user}", content_type="text/plain")


def db(_: HttpRequest) -> HttpResponse:
    count_run()
    crash = _disarm()
    if crash == "after-commit":
        transaction.on_commit(_die)
    _add_row()
    if crash == "before-commit":
        _die()
    return HttpResponse("done", status=201, content_type="text/plain")


def raise_(_: HttpRequest) -> HttpResponse:
    count_run()
    _add_row()
    raise Boom


def raise_once(_: HttpRequest) -> HttpResponse:
    number = count_run()
    _add_row()
    if number == 1:
        raise Boom
    return HttpResponse("done", status=201, content_type="text/plain")


def counter(_: HttpRequest) -> HttpResponse:
    return JsonResponse({"count": _RUNS.stat().st_size if _RUNS.exists() else 0})


# Outside the guard.


def reset(_: HttpRequest) -> HttpResponse:
    for file in (_RUNS, _ARMED):
        file.unlink(missing_ok=True)
    return HttpResponse(status=204)


def arm(request: HttpRequest) -> HttpResponse:
    _ARMED.write_text(request.GET["crash"])
    return HttpResponse(status=204)


def rows(_: HttpRequest) -> HttpResponse:
    """No package here has effects, so a row stands for its own."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM fixture_row")
        number = cursor.fetchone()[0]
    return JsonResponse({"rows": number, "effects": number})


def _add_row() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO fixture_row (done) VALUES (1)")


def _disarm() -> str:
    if not _ARMED.exists():
        return ""
    crash = _ARMED.read_text()
    _ARMED.unlink()
    return crash


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
