"""
What makes two requests one: method, route, path, query, media type and body, hashed.

A raw body is hashed byte by byte, or as JSON by its meaning. Of a multipart one the fields and
files are hashed: its boundary is another in each attempt.
"""

from __future__ import annotations

import io
import json
from typing import Any, Literal

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from django.http.request import RawPostDataException

from ..conf import settings
from .digests import Hasher, of_chunks, of_parts


class TooLarge(Exception):
    """The body is more than we, or Django, will read."""


def is_multipart(request: HttpRequest) -> bool:
    return (request.content_type or "").startswith("multipart/")


def read_body(request: HttpRequest) -> None:
    """
    Let the body be read before anybody parses it from the stream, so that it can be read twice.

    Raises:
        TooLarge: it is longer than IDEMPOTENCY_REQUEST_LIMIT, or DATA_UPLOAD_MAX_MEMORY_SIZE.
    """
    limit = settings().idempotency_request_limit
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = 0
    if length > limit:
        raise TooLarge
    if is_multipart(request):
        return  # its files may be large: they are read where its parser put them
    try:
        if len(request.body) > limit:  # sent in chunks, with no length before them
            raise TooLarge
    except RequestDataTooBig as error:
        raise TooLarge from error


def fingerprint(request: Any, route: str, body: Literal["raw", "json"]) -> str:
    """
    The hash of *request*, one of Django's or of REST framework's, which was given to `read_body`.

    Raises:
        RuntimeError: somebody has read the body from the stream, so it is gone.
    """
    hasher = Hasher()
    query = request.META.get("QUERY_STRING", "")
    media_type = (request.META.get("CONTENT_TYPE") or "").partition(";")[0].strip().lower()
    hasher.add(request.method or "", route, request.path, query, media_type)
    if media_type.startswith("multipart/"):
        _add_parts(hasher, request)
        return hasher.hexdigest()
    try:
        raw = request.body
    except RawPostDataException as error:
        raise RuntimeError(
            "The request's body was read from its stream before its idempotency key was looked at."
            " Read request.body instead, or read it inside the view."
        ) from error
    if body == "json" and (meaning := _meaning(raw)) is not None:
        hasher.add("json", meaning)
    else:
        hasher.add("raw", raw)
    return hasher.hexdigest()


# Multipart


def _add_parts(hasher: Hasher, request: Any) -> None:
    fields, files = request.POST, request.FILES
    if isinstance(request, HttpRequest) and request.method != "POST":
        # Django parses those of POST only; REST framework parses all.
        fields, files = request.parse_file_upload(request.META, io.BytesIO(request.body))
    parts = [of_parts("field", name, value) for name, values in fields.lists() for value in values]
    for name, uploads in files.lists():
        for upload in uploads:
            content = of_chunks(upload.chunks())
            upload.seek(0)  # the view reads it from its beginning
            kind = upload.content_type or ""
            parts.append(of_parts("file", name, upload.name or "", kind, content))
    hasher.add("multipart", *sorted(parts))


# JSON


class _Number(str):
    """As it is written: 1.0 and 1 may be two things, and 1e999 is no infinity."""

    __slots__ = ()


class _Pairs(list[Any]):
    """An object's members. A list, since a name may stand there twice."""


def _meaning(raw: bytes) -> str | None:
    """The hash of a JSON text without its blanks and the order of its members; None if it is none."""
    try:
        value = json.loads(
            raw,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_Number,
            object_pairs_hook=_Pairs,
        )
        return _of(value)
    except (ValueError, RecursionError):
        return None


def _of(value: Any) -> str:
    match value:
        case _Number():
            return of_parts("number", value)
        case str():
            return of_parts("string", value)
        case _Pairs():
            # By name only: of two with one name the last counts for most readers.
            members = sorted(((name, _of(v)) for name, v in value), key=lambda member: member[0])
            return of_parts("object", *(part for member in members for part in member))
        case list():
            return of_parts("array", *map(_of, value))
        case _:
            return of_parts("word", json.dumps(value))
