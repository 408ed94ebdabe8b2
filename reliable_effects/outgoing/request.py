"""One call as bytes, and the hash by which a later attempt is known to ask for the same."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.core.serializers.json import DjangoJSONEncoder

from ..effects.sending import Request

JSON, FORM = "application/json", "application/x-www-form-urlencoded"

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # latin-1, without what ends a line


def build(
    method: str, url: str, *, json: Any, data: Any, headers: Mapping[str, str] | None
) -> Request:
    """
    The request, made into bytes once.

    Raises:
        TypeError, ValueError: it cannot be sent twice with the same bytes (a file, a generator, a
            set), or is no request.
    """
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise ValueError("ctx.send() needs a whole address, with https:// or http:// and a host.")
    if json is not None and data is not None:
        raise TypeError("ctx.send() takes json= or data=, not both.")
    given = dict(headers or {})
    for name, value in given.items():
        if not (isinstance(value, str) and _NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise ValueError(
                f"ctx.send(headers=…): {name!r} has characters that no header can have."
            )
    content, kind = (json_bytes(json), JSON) if json is not None else _encoded(data)
    if kind and not any(name.lower() == "content-type" for name in given):
        given["Content-Type"] = kind
    return Request(method.upper(), url, given, content)


def json_bytes(value: Any) -> bytes:
    """In the order of the names, so that code that builds it in another order sends the same."""
    return json.dumps(
        value, cls=DjangoJSONEncoder, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()


def _encoded(data: Any) -> tuple[bytes | None, str]:
    match data:
        case None:
            return None, ""
        case bytes():
            return data, ""
        case str():
            return data.encode(), ""
        case Mapping() | Sequence():
            _refuse_what_has_no_order(data.items() if isinstance(data, Mapping) else data)
            return urlencode(data, doseq=True).encode(), FORM
        case _:
            raise TypeError(
                f"ctx.send(data=…) is a {type(data).__name__}; what is sent must be there to be sent"
                " again: give bytes, a str, or fields."
            )


def _refuse_what_has_no_order(fields: Iterable[Any]) -> None:
    for field in fields:
        if any(isinstance(part, AbstractSet | Iterator) for part in field):
            raise TypeError(
                "ctx.send(data=…) has a set or an iterator in a field, which would be sent otherwise"
                " the next time: give a list."
            )


def content_type(request: Request) -> str:
    """Without its parameters; "" where there is none."""
    for name, value in request.headers.items():
        if name.lower() == "content-type":
            return value.partition(";")[0].strip().lower()
    return ""


def digest(request: Request, salt: bytes) -> str:
    """
    What the partner is asked for: method, address and body. *salt* keeps equal requests apart.

    Headers are left out: tokens are renewed, and trace ids differ with each attempt.
    """
    hashed = hashlib.sha256(salt)
    for part in (request.method.encode(), request.url.encode(), request.content or b""):
        hashed.update(len(part).to_bytes(8))  # so that no part can run into the next
        hashed.update(part)
    return hashed.hexdigest()


def target(request: Request) -> str:
    """For people and logs: who is called. Paths and parameters may say more than they should."""
    parts = urlsplit(request.url)
    port = f":{parts.port}" if parts.port else ""
    return f"{request.method} {parts.hostname}{port}"[:200]
