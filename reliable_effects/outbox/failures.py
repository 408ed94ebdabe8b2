"""
What is written about a failure: sanitised, cut, redacted. Recording a failure must not fail.

PostgreSQL refuses NUL and lone surrogates; an exception's own `__str__` may raise.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import traceback
from collections.abc import Callable
from typing import Any

from django.utils.module_loading import import_string

from ..conf import settings
from .models import Attempt

_SECRET = re.compile(
    r"""(?ix) \b (?P<name> [\w-]{0,40}
        (?: passw(?:or)?d | secret | token | api[_-]?key | authorization | cookie | session(?:id)? )
        [\w-]{0,40} ["']? \s{0,3} [:=] \s{0,3} ) (?P<quote> ["']? )
        (?: (?: bearer | basic ) \s+ )? [^\s"',;&}]{1,2000}"""
)
_CREDENTIALS = re.compile(r"://[^/\s:@]{1,200}:[^/\s@]{1,200}@")
_CUT = "\n… cut …\n"


def redact(text: str) -> str:
    """Hide what looks like a secret: `password=…`, `"token": "…"`, `postgres://user:…@`."""
    text = _CREDENTIALS.sub("://***:***@", text)
    return _SECRET.sub(r"\g<name>\g<quote>***", text)


def sanitise(text: str, limit: int) -> str:
    """*text* as every database can keep it, at most *limit* bytes: head and tail of what is longer."""
    if len(text) > 2 * limit:  # no more than that can matter, and it may be 100 MB
        text = text[:limit] + text[-limit:]
    text = text.replace("\x00", "\N{SYMBOL FOR NULL}")
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > limit:
        half = (limit - len(_CUT.encode())) // 2
        data = data[:half] + _CUT.encode() + data[-half:]
    return data.decode("utf-8", "ignore")


def describe(exception: BaseException) -> str:
    """`str(exception)`, or what can be said where that raises."""
    try:
        return str(exception)
    except Exception as error:  # noqa: BLE001  # anything may be wrong with a foreign __str__
        return f"<str() of this {type(exception).__name__} raised {type(error).__name__}>"


def fingerprint(effect: str, exception: BaseException) -> str:
    """Equal for failures of one effect with one type at one place of the code."""
    place = ""
    for frame in traceback.extract_tb(exception.__traceback__)[-1:]:
        place = f"{frame.filename}:{frame.name}"
    parts = (effect, type(exception).__module__, type(exception).__qualname__, place)
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "replace")).hexdigest()[:32]


def attempt_row(
    delivery_id: int,
    number: int,
    outcome: Attempt.Outcome,
    *,
    effect: str,
    exception: BaseException | None = None,
    message: str = "",
    **columns: Any,
) -> Attempt:
    """The row that keeps one attempt that did not end well; not saved."""
    limit = settings().error_limit
    hide: Callable[[str], str] = import_string(settings().redact)

    def keep(text: str) -> str:
        # Cut first, so that hiding costs the same whatever was raised; then again, for the limit.
        return sanitise(hide(sanitise(text, limit)), limit)

    if exception is not None:
        columns |= {
            "exception_type": sanitise(
                f"{type(exception).__module__}.{type(exception).__qualname__}", 200
            ),
            "traceback": keep(_traceback(exception)),
            "fingerprint": fingerprint(effect, exception),
        }
        message = message or describe(exception)
    columns.setdefault("host", f"{socket.gethostname()[:80]}:{os.getpid()}")
    return Attempt(
        delivery_id=delivery_id,
        number=number,
        outcome=outcome,
        message=keep(message),
        release=settings().release[:100],
        **columns,
    )


def _traceback(exception: BaseException) -> str:
    """Frames without their locals: those hold what was never meant to be stored."""
    try:
        lines = traceback.format_exception(exception, limit=-50, chain=True)
    except Exception as error:  # noqa: BLE001  # as in describe()
        return f"<the traceback could not be formatted: {type(error).__name__}>"
    return "".join(lines)
