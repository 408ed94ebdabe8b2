"""What one exchange with a partner showed: an answer, none, or that nothing was sent."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Unsent:
    """No connection: the partner has not heard of it."""

    why: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Some of it may have been sent, and no whole answer came back."""

    why: str
    status: int | None = None  # where the answer had begun


@dataclass(frozen=True, slots=True)
class Answer:
    """Headers have lower case names. `body` is cut at the limit, and `cut` says so."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)
    cut: bool = False
    response: Any = field(default=None, repr=False)  # the client's own

    @property
    def is_replay(self) -> bool:
        """The partner says that this is its stored answer to an earlier arrival."""
        return any(self.headers.get(name, "").lower() == "true" for name in _REPLAYED)

    @property
    def is_transient(self) -> bool:
        """Adyen's way to say that an earlier arrival is still being worked on."""
        return self.headers.get("transient-error", "").lower() == "true"

    @property
    def should_retry(self) -> bool | None:
        """Stripe's advice, which goes before what the status says; None where there is none."""
        return {"true": True, "false": False}.get(
            self.headers.get("stripe-should-retry", "").lower()
        )

    @property
    def request_id(self) -> str:
        return next((self.headers[name] for name in _REQUEST_IDS if name in self.headers), "")

    @property
    def code(self) -> str:
        """The problem as a word: RFC 9457's `code`, or the end of its `type`; Stripe's error type."""
        if self.cut or "json" not in self.headers.get("content-type", ""):
            return ""
        try:
            told = json.loads(self.body)
        except (ValueError, RecursionError):
            return ""
        if not isinstance(told, dict):
            return ""
        if isinstance(error := told.get("error"), dict):
            return str(error.get("type", ""))
        return str(told.get("code") or str(told.get("type", "")).rpartition("/")[2])

    def wait(self, now: datetime, longest: timedelta) -> timedelta | None:
        """What Retry-After asks for, seconds or a date, at most *longest*; None where it says nothing, or "now"."""
        told = self.headers.get("retry-after", "").strip()
        if told.isascii() and told.isdigit():
            # Thousands of digits are a number, too, and none that a float or a span can hold.
            seconds = float(told) if len(told) < _DIGITS else math.inf
        else:
            try:
                at = parsedate_to_datetime(told)
            except (ValueError, TypeError, OverflowError):
                return None
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            seconds = (at - now).total_seconds()
        if seconds <= 0:
            return None  # as a snooze it would be asked again at once, and for ever
        return timedelta(seconds=min(seconds, longest.total_seconds()))


Exchanged = Answer | Lost | Unsent

_DIGITS = 10
_REPLAYED = ("idempotent-replayed", "idempotency-replayed", "x-idempotent-replayed")
_REQUEST_IDS = (
    "request-id", "x-request-id", "x-amzn-requestid", "x-ms-request-id", "paypal-debug-id",
    "x-correlation-id",
)  # fmt: skip
