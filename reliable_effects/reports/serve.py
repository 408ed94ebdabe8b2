"""
Hand a report out: asked whether it may be at every request, fresh or good enough, or being built.

A signed address is made for one request after its permission, lives for minutes, and is neither
stored, logged nor cached. Mail the address of your view, never the one that it redirects to.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import http_date, quote_etag

from ..conf import settings
from ..exceptions import BlobMissing
from .asking import Standing, age_of, ask, is_fresh, is_servable, last_build
from .body import AsyncBody, Body
from .definition import ReportDefinition
from .disposition import attachment, safe_name
from .losing import give_up
from .models import Report, ReportDownload, ReportVersion, VersionState
from .stores import store

Serve = Literal["auto", "stream"]

_ASK_AGAIN = timedelta(seconds=5)  # what a client waits while the first is being built


def report_response(
    request: HttpRequest,
    report: ReportDefinition,
    /,
    *,
    serve: Serve = "auto",
    **parameters: Any,
) -> HttpResponseBase:
    """
    The report with these *parameters*, for this request's user.

    302 to a signed address where the store has such, else (or with serve="stream") the file itself;
    304 where the client has it; 202 with a status document and Retry-After while the first is
    being built, 503 where that was given up and rests. What is stale is served, and the next asked for.

    Raises:
        Http404: the user may not read it. That it exists is nobody else's to know.
        TypeError, BadPayload: the parameters are none of this report's.
    """
    canonical = report.parameters.canonical(parameters)
    arguments = report.parameters.restored(canonical)
    if not report.may_read(getattr(request, "user", None), arguments):
        raise Http404("No such report.")
    while True:
        row = report.row_of(canonical)
        if not is_fresh(report, row):
            ask(report, row)
        if row.current is None or not is_servable(report, row):
            return _not_yet(row)
        try:
            filename = _filename(report, arguments, row.current)
            return _served(request, row, row.current, filename=filename, serve=serve)
        except BlobMissing:
            # The one before takes its place, if there is one; each turn gives one up.
            give_up(row, row.current)


def _served(
    request: HttpRequest,
    row: Report,
    version: ReportVersion,
    *,
    filename: str,
    serve: Serve,
) -> HttpResponseBase:
    answered = _not_modified(request, version)
    if answered is not None:
        return _with_headers(answered, row, version)
    if request.method == "HEAD":
        return _with_headers(_described(HttpResponse(), version, filename), row, version)
    lifetime = settings().report_url_lifetime
    address = None
    if serve == "auto":
        address = store().url(
            version.key, expires=lifetime, filename=filename, content_type=version.content_type
        )
    if address is not None:
        note(request, row, version, "redirect")
        # Not HttpResponseRedirect: its __repr__, which logs and error pages show, has the address.
        return _with_headers(_Redirect(address), row, version, store_it=False)
    body = Body(row, version, store().open_range(version.key))
    try:
        note(request, row, version, "stream")
    except BaseException:
        body.close()
        raise
    is_asgi = hasattr(request, "scope")  # asked so, since REST framework's requests wrap Django's
    response = StreamingHttpResponse(AsyncBody(body) if is_asgi else body)
    response["Accept-Ranges"] = "none"  # what is checked on the way is the whole
    return _with_headers(_described(response, version, filename), row, version)


def _filename(report: ReportDefinition, arguments: dict[str, Any], version: ReportVersion) -> str:
    title = report.title(**arguments) if report.title is not None else report.name
    day = version.started_at.strftime("%Y-%m-%d")
    return safe_name(f"{title} {day}", version.extension)


class _Redirect(HttpResponse):
    """A 302 that does not tell where to but in its header."""

    status_code = 302

    def __init__(self, address: str) -> None:
        super().__init__()
        self["Location"] = address


def _not_modified(request: HttpRequest, version: ReportVersion) -> HttpResponseBase | None:
    """304 or 412, where the client's conditions say so."""
    untouched = HttpResponse()
    response = get_conditional_response(
        request, quote_etag(version.sha256), int(version.started_at.timestamp()), untouched
    )
    return None if response is untouched else response


def _described(
    response: HttpResponseBase, version: ReportVersion, filename: str
) -> HttpResponseBase:
    response["Content-Type"] = version.content_type
    response["Content-Length"] = str(version.size)
    response["Content-Disposition"] = attachment(filename)
    return response


def _with_headers(
    response: HttpResponseBase, row: Report, version: ReportVersion, *, store_it: bool = True
) -> HttpResponseBase:
    # To be kept by the user's own browser at most, and asked for again each time.
    response["Cache-Control"] = "private, no-cache" if store_it else "private, no-store"
    response["ETag"] = quote_etag(version.sha256)
    response["Last-Modified"] = http_date(version.started_at.timestamp())
    response["Age"] = str(max(0, int((age_of(row) or timedelta(0)).total_seconds())))
    response["X-Content-Type-Options"] = "nosniff"
    response["Referrer-Policy"] = "no-referrer"
    return response


def _not_yet(row: Report) -> HttpResponse:
    last = last_build(row)
    failed = last.standing is Standing.FAILED
    wait = _ASK_AGAIN
    if failed and last.ask_again_at is not None:
        wait = max(wait, last.ask_again_at - row.read_at)
    told: dict[str, Any] = {"state": "failed" if failed else "building"}
    if row.asked_at is not None:
        told["asked_at"] = row.asked_at.isoformat()
    version = row.versions.filter(number=row.asked, state=VersionState.BUILDING).last()
    if version is not None and not failed:
        told |= {"rows": version.rows, "bytes": version.size}
    seconds = int(wait.total_seconds())
    told["retry_after_seconds"] = seconds
    response = JsonResponse(told, status=503 if failed else 202)
    response["Retry-After"] = str(seconds)
    response["Cache-Control"] = "no-store"
    return response


def note(request: HttpRequest, row: Report, version: ReportVersion, how: str) -> None:
    """Write down that this request's user was given *version*."""
    user: Any = getattr(request, "user", None)
    known = user is not None and user.is_authenticated
    ReportDownload.objects.using(row._state.db).create(
        report=row,
        number=version.number,
        sha256=version.sha256,
        user_pk=str(user.pk)[:200] if known else "",
        user=user.get_username()[:200] if known else "",
        how=how,
    )
