"""Where a partner looks for the idempotency key."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.utils.http import http_date

from ..effects.sending import Request
from .request import FORM, JSON, content_type, json_bytes


@dataclass(frozen=True, slots=True)
class Header:
    """A header of its own: `Header("Idempotency-Key")`."""

    name: str

    def put(self, request: Request, key: str, first_sent_at: datetime) -> Request:  # noqa: ARG002  # KeyPlace
        return with_headers(request, **{self.name: key})


@dataclass(frozen=True, slots=True)
class BodyField:
    """A field of the JSON object or of the form: `BodyField("request_id")`."""

    name: str

    def put(self, request: Request, key: str, first_sent_at: datetime) -> Request:  # noqa: ARG002  # KeyPlace
        match content_type(request):
            case kind if kind == JSON and isinstance(
                body := json.loads(request.content or b"{}"), dict
            ):
                content = json_bytes(body | {self.name: key})
            case kind if kind == FORM:
                fields = parse_qsl((request.content or b"").decode(), keep_blank_values=True)
                kept = [(name, value) for name, value in fields if name != self.name]
                content = urlencode([*kept, (self.name, key)]).encode()
            case _:
                raise TypeError(
                    f"BodyField({self.name!r}) needs json= with a dict, or data= with fields."
                )
        return replace(request, content=content)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the address: `Parameter("ClientToken")`."""

    name: str

    def put(self, request: Request, key: str, first_sent_at: datetime) -> Request:  # noqa: ARG002  # KeyPlace
        parts = urlsplit(request.url)
        query = "&".join(filter(None, (parts.query, urlencode({self.name: key}))))
        return replace(request, url=urlunsplit((*parts[:3], query, parts.fragment)))


@dataclass(frozen=True, slots=True)
class Repeatability:
    """Azure's pair of headers, the second of which says when the key was first sent."""

    def put(self, request: Request, key: str, first_sent_at: datetime) -> Request:
        return with_headers(
            request,
            **{
                "Repeatability-Request-ID": key,
                "Repeatability-First-Sent": http_date(first_sent_at.timestamp()),
            },
        )


def with_headers(request: Request, **headers: str) -> Request:
    """*request* with *headers* in place of those of the same name, however they are written."""
    named = {name.lower() for name in headers}
    kept = {name: value for name, value in request.headers.items() if name.lower() not in named}
    return replace(request, headers=kept | headers)
