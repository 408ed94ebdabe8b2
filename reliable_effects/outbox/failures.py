"""
What is written about a failure: sanitised, cut, redacted. Recording a failure must not fail.

PostgreSQL refuses NUL and lone surrogates; an exception's own `__str__` may raise.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import socket
import traceback
from typing import Any

from django.utils.module_loading import import_string

from ..conf import settings
from .models import Attempt

logger = logging.getLogger("reliable_effects")

# Every repetition is over one class that the next part does not begin with, or short: a message
# may be hostile, and the time must grow with its length only.
_SECRET = re.compile(
    r"""(?ix)
    (?P<name>
        (?: pass(?:w(?:or)?d|phrase)? | pwd | secret | token | credential | cookie | session[_-]?id
          | (?:api|private|access)[_-]?key | authorization )
        [\w-]{0,40} \\?["']? \s{0,3} [:=] \s{0,3}
        (?: (?: bearer | basic | digest | token | api-?key ) \s{1,3} )?
    )
    (?: "(?:[^"\\]|\\.)*"? | '(?:[^'\\]|\\.)*'? | \\["'][^"'\\]* | [^\s"',;&}\\]+ )
    """
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s{1,3}[\w.~+/=-]{8,}")
_CREDENTIALS = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
_HIDDEN = "***"

_READ = 256 * 1024  # characters of a message; some raise a whole response, of 100 MB
_CUT = "\n… cut …\n"
# Control characters (a terminal would obey them) as their pictures; lines and tabs stay.
_VISIBLE = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"}
_VISIBLE |= {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)


def redact(text: str) -> str:
    """Hide what looks like a secret: `password=…`, `"token": "…"`, `postgres://user:…@`."""
    text = _CREDENTIALS.sub(f"://{_HIDDEN}:{_HIDDEN}@", text)
    text = _SECRET.sub(rf"\g<name>{_HIDDEN}", text)
    return _BEARER.sub(rf"\g<1> {_HIDDEN}", text)


def sanitise(text: str, limit: int) -> str:
    """*text* as every database can keep it, at most *limit* bytes: head and tail of what is longer."""
    if len(text) > 2 * limit:  # no more than that can matter, and it may be 100 MB
        text = text[:limit] + text[-limit:]
    data = text.translate(_VISIBLE).encode("utf-8", "backslashreplace")
    if len(data) > limit:
        half = (limit - len(_CUT.encode())) // 2
        data = data[:half] + _CUT.encode() + data[-half:]
    return data.decode("utf-8", "ignore")


def presentable(text: str) -> str:
    """*text* as it may be stored and shown: redacted by the project's `redact`, and cut."""
    # Hidden before it is cut: a cut could part a secret from its name.
    if len(text) > _READ:
        text = text[:_READ] + _CUT
    try:
        hidden = import_string(settings().redact)(text)
        return sanitise(str(hidden), settings().error_limit)
    except Exception:
        logger.exception("%s failed; nothing of the message is kept", settings().redact)
        return f"<{settings().redact} failed, so nothing of this is kept>"


def describe(exception: BaseException) -> str:
    """`str(exception)`, or what can be said where that raises."""
    try:
        return str(exception)
    except Exception as error:  # noqa: BLE001  # anything may be wrong with a foreign __str__
        return f"<str() of this {type(exception).__name__} raised {type(error).__name__}>"


def let_go_of_memory(error: BaseException) -> None:
    """A traceback holds what the effect had eaten, and to write it down takes memory, too."""
    chain: dict[int, BaseException] = {}  # by identity: a foreign error may compare as it likes
    following: BaseException | None = error
    while following is not None and id(following) not in chain:
        chain[id(following)] = following
        following = following.__cause__ or following.__context__
    if any(isinstance(one, MemoryError) for one in chain.values()):
        for one in chain.values():
            traceback.clear_frames(one.__traceback__)


def fingerprint(effect: str, exception: BaseException) -> str:
    """Equal for failures of one effect with one type in one function, on every host and release."""
    parts = f"{effect}\x1f{_type_name(exception)}\x1f{place_of(exception)}"
    return hashlib.sha256(parts.encode("utf-8", "replace")).hexdigest()[:32]


def place_of(exception: BaseException) -> str:
    """Where it was raised: `module:function`, the same on every host; "" where nothing is known."""
    place = ""
    for frame, _ in traceback.walk_tb(exception.__traceback__):
        place = f"{frame.f_globals.get('__name__')}:{frame.f_code.co_qualname}"
    return place


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
    if exception is not None:
        columns |= {
            "exception_type": sanitise(_type_name(exception), 200),
            "traceback": presentable(_traceback(exception)),
            "fingerprint": fingerprint(effect, exception),
            "place": sanitise(place_of(exception), 300),
        }
        message = message or describe(exception)
    columns.setdefault("host", f"{socket.gethostname()[:80]}:{os.getpid()}")
    return Attempt(
        delivery_id=delivery_id,
        number=number,
        outcome=outcome,
        message=presentable(message),
        release=settings().release[:100],
        **columns,
    )


def bare(row: Attempt) -> Attempt:
    """*row* without what others wrote: for a database that refuses it."""
    return Attempt(
        delivery_id=row.delivery_id,
        number=row.number,
        started_at=row.started_at,
        outcome=row.outcome,
        exception_type=row.exception_type.encode("ascii", "replace").decode(),
        message="The database refused to keep what it said; the worker's log has why.",
        fingerprint=row.fingerprint,
    )


def _type_name(exception: BaseException) -> str:
    return f"{type(exception).__module__}.{type(exception).__qualname__}"


def _traceback(exception: BaseException) -> str:
    """Frames without their locals: those hold what was never meant to be stored."""
    try:
        lines = traceback.format_exception(exception, limit=-50, chain=True)
    except Exception as error:  # noqa: BLE001  # as in describe()
        return f"<the traceback could not be formatted: {type(error).__name__}>"
    return "".join(lines)
