"""One exchange through `requests`: bounded, not repeated, and told apart by whether it was sent."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from types import TracebackType
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import (
    ClosedPoolError,
    ConnectTimeoutError,
    EmptyPoolError,
    HTTPError,
    NewConnectionError,
)
from urllib3.util.retry import Retry

from ..effects.sending import Request
from .answers import Answer, Exchanged, Lost, Unsent
from .clients import Limits

_CHUNK = 16 * 1024  # bytes


def exchange(request: Request, limits: Limits, client: requests.Session | None) -> Exchanged:
    """Send *request* once. What the session's own hooks and auth raise is raised here."""
    handled = sys.exc_info()[1]  # what the effect is in the middle of handling is no error of ours
    heard: list[requests.Response] = []
    session = _quiet(client if client is not None else requests.Session(), heard)
    until = time.monotonic() + limits.connect + limits.answer
    try:
        response = session.request(
            request.method,
            request.url,
            headers=dict(request.headers),
            data=request.content,
            auth=_auth_of(request, session),
            timeout=(limits.connect, limits.answer),
            allow_redirects=False,
            stream=True,
        )
    except (requests.RequestException, OSError) as error:  # OSError: what requests lets through
        if not heard:
            return _without_answer(error, handled)
        told = getattr(error, "response", None)
        if told is not heard[-1]:  # else raise_for_status() in a hook
            heard[-1].close()
            why = f"it was answered, and what follows it failed ({type(error).__name__})"
            return Lost(why, heard[-1].status_code)
        response = heard[-1]
    finally:
        if client is None:
            session.close()  # what is being read stays open
    return _read(response, limits.body, until)


def _quiet(session: requests.Session, heard: list[requests.Response]) -> requests.Session:
    """
    *session* for one call, with its connections and without its retries; itself unchanged.

    What comes back goes to *heard* before any hook has it, and can fail.
    """
    quiet: requests.Session = _twin(session)
    quiet.adapters = type(session.adapters)()
    for prefix, adapter in session.adapters.items():
        twin = _twin(adapter)
        if isinstance(twin, HTTPAdapter):
            twin.max_retries = Retry(0, read=False)
        twin.send = _noting(twin.send, heard)
        quiet.adapters[prefix] = twin
    return quiet


def _noting(
    send: Callable[..., requests.Response], heard: list[requests.Response]
) -> Callable[..., requests.Response]:
    def noting(*args: Any, **kwargs: Any) -> requests.Response:
        response = send(*args, **kwargs)
        heard.append(response)
        return response

    return noting


def _auth_of(request: Request, session: requests.Session) -> Any:
    """A header of the effect's is meant, and not what the machine's .netrc says of the host."""
    has_its_own = any(name.lower() == "authorization" for name in request.headers)
    return _as_it_is if has_its_own and not session.auth else None


def _as_it_is(prepared: Any) -> Any:
    return prepared


def _twin(thing: Any) -> Any:
    # Not copy(): it would make new connections, and forget what a subclass has added.
    twin = object.__new__(type(thing))
    twin.__dict__.update(thing.__dict__)
    return twin


def _read(response: requests.Response, limit: int, until: float) -> Answer | Lost:
    body, cut = bytearray(), False
    try:
        for chunk in _chunks(response.raw):
            body += chunk
            if len(body) > limit:
                cut = True
                break
            if time.monotonic() > until:
                return Lost("the answer came too slowly", response.status_code)
    except (HTTPError, OSError) as error:
        return Lost(f"the answer broke off ({type(error).__name__})", response.status_code)
    finally:
        response.close()
    kept = bytes(body[:limit])
    response.raw = BytesIO(kept)  # for whoever asks the response for its content
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, kept, cut, response)


def _chunks(raw: Any) -> Iterator[bytes]:
    """As they come in: to wait for a whole one, a slow partner could take for ever."""
    if not hasattr(raw, "read1"):  # urllib3 1.26
        yield from raw.stream(1, decode_content=True)
        return
    while chunk := raw.read1(_CHUNK, decode_content=True):
        yield chunk


_NOT_SENT = (NewConnectionError, ConnectTimeoutError, EmptyPoolError, ClosedPoolError)
_MALFORMED = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader,
)
# Functions that are left before the first byte of a request is written
_CONNECTING = {"connect", "_validate_conn", "_prepare_proxy", "_tunnel", "do_handshake"}


def _without_answer(error: Exception, handled: BaseException | None) -> Exchanged:
    """Not sent, where that is certain; what else went wrong may have been sent."""
    chain = list(_chain(error, handled))
    causes = {type(one).__name__ for one in chain}
    told = type(chain[-1]).__name__
    if isinstance(error, _MALFORMED) or any(isinstance(one, _NOT_SENT) for one in chain):
        return Unsent(f"no connection was made ({_named(causes) or told})")
    # TLS, proxies and timeouts fail in the same words before and after: only the place tells.
    if any(_was_connecting(one.__traceback__) for one in chain):
        return Unsent(f"no connection was made ({type(error).__name__})")
    return Lost(f"no answer came ({type(error).__name__})")


def _named(causes: set[str]) -> str:
    known = ("NameResolutionError", "NewConnectionError", "ConnectTimeoutError", "EmptyPoolError")
    return next((name for name in known if name in causes), "")


def _chain(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    """
    What an error was made from: libraries wrap one in another in every way there is.

    It ends before *handled*, which was there before the call, and which Python takes for a cause.
    """
    seen = {id(handled)}
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]


def _was_connecting(traceback: TracebackType | None) -> bool:
    while traceback is not None:
        frame = traceback.tb_frame
        library = str(frame.f_globals.get("__name__")).partition(".")[0]
        if frame.f_code.co_name in _CONNECTING and library in ("urllib3", "http", "ssl"):
            return True
        traceback = traceback.tb_next
    return False
