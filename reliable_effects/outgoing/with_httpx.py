"""One exchange through `httpx`: bounded, not repeated, and told apart by whether it was sent."""

from __future__ import annotations

import logging
import time
from contextvars import ContextVar

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
    httpx.InvalidURL,
)


def exchange(request: Request, limits: Limits, client: httpx.Client | None) -> Exchanged:
    """
    Send *request* once. What the client's own hooks and auth raise is raised here.

    `retries=` of a transport stays: it repeats connecting only, and that within our time.
    """
    own = client or httpx.Client()
    until = time.monotonic() + limits.connect + limits.answer
    mark = _sending.set(True)
    try:
        made = own.build_request(
            request.method,
            request.url,
            headers=dict(request.headers),
            content=request.content,
            timeout=httpx.Timeout(limits.answer, connect=limits.connect),
        )
        response = own.send(made, stream=True, follow_redirects=False)
        try:
            return _read(response, limits.body, until)
        finally:
            response.close()
    except httpx.HTTPStatusError as error:  # of a hook; the answer was not read
        return _of_hook(error.response)
    except _NOT_SENT as error:
        return Unsent(f"no connection was made ({type(error).__name__})")
    except httpx.RequestError as error:
        return Lost(f"no answer came ({type(error).__name__})")
    finally:
        _sending.reset(mark)
        if client is None:
            own.close()


def _read(response: httpx.Response, limit: int, until: float) -> Answer | Lost:
    body, cut = bytearray(), False
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
        body = response.content
    except httpx.ResponseNotRead:
        body = b""
    return _answer(response, body)


_OF_THE_WIRE = ("content-encoding", "content-length", "transfer-encoding")

_sending: ContextVar[bool] = ContextVar("reliable_effects_sending", default=False)


def _is_not_ours(_record: logging.LogRecord) -> bool:
    return not _sending.get()


# It logs each address at INFO, with the key where that is a parameter. We log a line of our own.
logging.getLogger("httpx").addFilter(_is_not_ours)
