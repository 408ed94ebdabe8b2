"""
What makes two requests one: method, route, path, query, media type and body, hashed.

A raw body is hashed byte by byte, or as JSON by its meaning. Of a form with files the fields and
files are hashed: its boundary is another in each attempt. Every other kind of multipart is bytes.
"""

from __future__ import annotations

import io
import json
from typing import Any, Literal

from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest
from django.http.request import RawPostDataException
from django.utils.datastructures import MultiValueDict

from ..conf import settings
from .digests import Hasher, of_chunks, of_parts


class TooLarge(Exception):
    """The body is more than we, or Django, will read."""


_FORM = "multipart/form-data"  # what Django and REST framework parse; others they leave unread


def _is_form(request: Any) -> bool:
    """By the header itself, as REST framework's request does not have Django's `content_type`."""
    kind = request.META.get("CONTENT_TYPE") or ""
    return bool(kind.partition(";")[0].strip().lower() == _FORM)


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
    if _is_form(request):
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
        TooLarge: Django does not read so large a form.
        RuntimeError: somebody has read the body from the stream, so it is gone.
    """
    hasher = Hasher()
    query = request.META.get("QUERY_STRING", "")
    media_type = (request.META.get("CONTENT_TYPE") or "").partition(";")[0].strip().lower()
    hasher.add(request.method or "", route, request.path, query, media_type)
    if _is_form(request):
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
    try:
        fields, files = _parsed(request)
    except RequestDataTooBig as error:
        raise TooLarge from error
    hasher.add("form", _of_part(fields), _of_part(files))


def _parsed(request: Any) -> tuple[Any, Any]:
    if isinstance(request, HttpRequest) and request.method != "POST":
        # Django parses those of POST only; REST framework parses all.
        return request.parse_file_upload(request.META, io.BytesIO(request.body))
    return request.POST, request.FILES


def _of_part(part: Any) -> str:
    """Of a field, a file, or all of them; a project's own parser may give dicts within lists."""
    match part:
        case UploadedFile():
            content = of_chunks(part.chunks())
            part.seek(0)  # the view reads it from its beginning
            return of_parts("file", part.name or "", part.content_type or "", content)
        case dict():
            members = part.lists() if isinstance(part, MultiValueDict) else part.items()
            hashes = sorted((str(name), _of_part(value)) for name, value in members)
            return of_parts("names", *(half for member in hashes for half in member))
        case list() | tuple():
            # In their order: it says which of those under one name the view reads.
            return of_parts("list", *map(_of_part, part))
        case str():
            return of_parts("text", part)
        case _:
            return of_parts("value", repr(part))


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
