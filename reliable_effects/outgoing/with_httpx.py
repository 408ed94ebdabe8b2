"""One exchange through `httpx`: bounded, not repeated, and told apart by whether it was sent."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from ..effects.sending import Request
from .answers import Answer, Exchanged, Lost, Unsent
from .clients import Limits

_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


def exchange(request: Request, limits: Limits, client: httpx.Client | None) -> Exchanged:
    """
    Send *request* once. What the client's own hooks and auth raise is raised here.

    `retries=` of a transport stays: it repeats connecting only. Each try has the time for
    connecting anew, and the pauses between them come on top.
    """
    own = client or httpx.Client()
    until = time.monotonic() + limits.connect + limits.answer
    mark = _sending.set(True)
    try:
        try:
            made = _made(request, limits, own)
        except (httpx.InvalidURL, ValueError) as error:
            return Unsent(f"it cannot be written down ({type(error).__name__})")
        return _exchanged(own, made, limits, until)
    finally:
        _sending.reset(mark)
        if client is None:
            own.close()


def _made(request: Request, limits: Limits, client: httpx.Client) -> httpx.Request:
    # Parameters of the client's would replace those of the address, and the key with them.
    query: Any = parse_qsl(urlsplit(request.url).query, keep_blank_values=True)
    return client.build_request(
        request.method,
        request.url,
        params=query if client.params else None,
        headers=dict(request.headers),
        content=request.content,
        timeout=httpx.Timeout(limits.answer, connect=limits.connect),
    )


def _exchanged(
    client: httpx.Client, made: httpx.Request, limits: Limits, until: float
) -> Exchanged:
    try:
        response = client.send(made, stream=True, follow_redirects=False)
        try:
            return _read(response, limits.body, until)
        finally:
            response.close()
    except httpx.HTTPStatusError as error:  # of a hook; the answer was not read
        if error.request is made:
            return _of_hook(error.response)
        return Lost("a hook of the client failed (HTTPStatusError)")
    except _NOT_SENT as error:
        if _is_about(error, made):
            return Unsent(f"no connection was made ({type(error).__name__})")
        return Lost(f"a hook or the auth of the client failed ({type(error).__name__})")
    except httpx.RequestError as error:
        return Lost(f"no answer came ({type(error).__name__})")


def _is_about(error: httpx.RequestError, made: httpx.Request) -> bool:
    """Hooks and auth make requests of their own: that those went nowhere says nothing of ours."""
    try:
        return error.request is made
    except RuntimeError:  # it names none
        return False


class _Slices(httpx.SyncByteStream):
    """An answer's bytes a little at a time, so that what they unpack to is bounded, too."""

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            for start in range(0, len(chunk), _SLICE):
                yield chunk[start : start + _SLICE]

    def close(self) -> None:
        self._stream.close()


_SLICE = 1024  # bytes; gzip makes at most a megabyte of it


def _read(response: httpx.Response, limit: int, until: float) -> Answer | Lost:
    if "," in response.headers.get("content-encoding", ""):
        # Packed twice, a few bytes may be gigabytes before anybody could count them.
        return _answer(response, b"", cut=True)
    body, cut = bytearray(), False
    if not response.is_stream_consumed:  # else a hook has read it
        assert isinstance(response.stream, httpx.SyncByteStream)  # noqa: S101  # for mypy
        response.stream = _Slices(response.stream)
    try:
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > limit:
                cut = True
                break
            if time.monotonic() > until:
                return Lost("the answer came too slowly", response.status_code)
    except (httpx.RequestError, httpx.StreamError) as error:
        return Lost(f"the answer broke off ({type(error).__name__})", response.status_code)
    return _answer(response, bytes(body[:limit]), cut=cut)


def _answer(response: httpx.Response, body: bytes, *, cut: bool = False) -> Answer:
    # A new one, because what was streamed cannot be read by who asks for its content.
    kept = httpx.Response(
        response.status_code,
        headers=[pair for pair in response.headers.multi_items() if pair[0] not in _OF_THE_WIRE],
        content=body,
        request=response.request,
    )
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, body, cut, kept)


def _of_hook(response: httpx.Response) -> Answer:
    try:
        return _answer(response, response.content)
    except httpx.ResponseNotRead:
        return _answer(response, b"", cut=True)


_OF_THE_WIRE = ("content-encoding", "content-length", "transfer-encoding")

_sending: ContextVar[bool] = ContextVar("reliable_effects_sending", default=False)


def _is_not_ours(_record: logging.LogRecord) -> bool:
    return not _sending.get()


# It logs each address at INFO, with the key where that is a parameter. We log a line of our own.
logging.getLogger("httpx").addFilter(_is_not_ours)
