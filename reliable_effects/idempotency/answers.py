"""
What is kept of a response, and how it is given again.

Kept are the status, the bytes, and headers on a list. Cookies, credentials and what belongs to one
connection never are, whatever a project sets: they were one client's, at one moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control

from ..conf import is_secret_header, settings
from .claim import Kept
from .options import Idempotency

# Content-Encoding belongs to the bytes: without it those of a view that packs them say nothing.
_ALWAYS = (
    "Content-Type", "Content-Language", "Content-Disposition", "Content-Encoding", "Location",
    "Operation-Location", "Link", "ETag", "Last-Modified", "Cache-Control", "Vary", "Retry-After",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Storable:
    """A response as its record keeps it."""

    status: int
    headers: list[list[str]]
    body: bytes | None
    omitted: bool


def storable(
    response: HttpResponseBase, options: Idempotency, *, is_secret: bool = False
) -> Storable:
    """
    *response*, rendered by now. A stream, or too large a body, is omitted: the rest is kept.

    So is one that *is_secret*, unless the view's `store_body=` says what of it may be kept.
    """
    is_left_out = is_secret and not callable(options.store_body)
    body = None if is_left_out else _body(response, options)
    return Storable(response.status_code, _headers(response), body, omitted=body is None)


def replay(kept: Kept) -> HttpResponse:
    """The first answer again, marked as one."""
    response = HttpResponse(kept.body or b"", status=kept.status)
    del response["Content-Type"]
    for name, value in kept.headers:
        response[name] = value
    patch_cache_control(response, no_store=True)  # it is for who has the key, and nobody between
    for marker in settings().idempotency_markers:
        response[marker] = "true"
    if kept.omitted:
        response["Idempotency-Replay"] = "omitted"
    return response


def say_not_stored(response: HttpResponseBase) -> None:
    """Let the client know that this answer, or its body, will not be given again."""
    response["Idempotency-Stored"] = "false"


def rendered(response: Any) -> HttpResponseBase:
    """A template, or data of REST framework, as the bytes that are sent."""
    if hasattr(response, "render") and callable(response.render):
        response = response.render()
    return response  # type: ignore[no-any-return]  # what views return


def _body(response: HttpResponseBase, options: Idempotency) -> bytes | None:
    if response.streaming or options.store_body is False:
        return None
    redact = options.store_body
    body: bytes = redact(response) if callable(redact) else response.content  # type: ignore[attr-defined]  # no stream
    return body if len(body) <= settings().idempotency_response_limit else None


def _headers(response: HttpResponseBase) -> list[list[str]]:
    wanted = [*_ALWAYS, *settings().idempotency_headers]
    return [
        [name, response[name]] for name in wanted if name in response and not is_secret_header(name)
    ]
