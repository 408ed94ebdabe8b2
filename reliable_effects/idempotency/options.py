"""What a view may say about its keys; where it says nothing, the settings do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypedDict

from django.db import router
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from ..conf import LONGEST_SPAN, settings
from .models import IdempotencyRecord

Scope = Callable[[HttpRequest], str]
Resolve = Callable[[HttpRequest], "HttpResponseBase | bool | None"]
Redact = Callable[[HttpResponseBase], bytes]


class Options(TypedDict, total=False):
    """`Idempotency`'s fields, as type checkers see them in `@idempotent(…)`."""

    required: bool
    strict: bool | None
    scope: Scope | None
    operation: str
    anonymous: bool
    lease: timedelta | None
    key_retention: timedelta | None
    body_retention: timedelta | None
    replay_5xx: bool | None
    fingerprint: Literal["raw", "json"]
    store_body: bool | Redact
    foreign: bool
    resolve: Resolve | None
    throttle_replays: bool | None
    using: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Idempotency:
    """
    The rules for one view. None means: as `RELIABLE_EFFECTS` says.

    Raises:
        ValueError: an option has a value that means nothing; it is named.
    """

    required: bool = False  # a request without a key is refused
    strict: bool | None = None  # only keys in double quotes
    scope: Scope | None = None  # (request) -> str: whose keys they are; else the user's
    operation: str = ""  # its name; else method and route
    anonymous: bool = False  # take keys of clients that nobody knows: they share theirs
    lease: timedelta | None = None
    key_retention: timedelta | None = None
    body_retention: timedelta | None = None
    replay_5xx: bool | None = None
    fingerprint: Literal["raw", "json"] = "raw"
    store_body: bool | Redact = True  # or (response) -> the bytes to keep
    foreign: bool = False  # the view calls other systems itself
    resolve: Resolve | None = None  # asked about an uncertain key, before a client is refused
    throttle_replays: bool | None = None  # REST framework only
    using: str | None = None  # the alias of the business rows

    def __post_init__(self) -> None:
        for name in ("lease", "key_retention", "body_retention"):
            span = getattr(self, name)
            if span is not None and not timedelta(0) < span <= LONGEST_SPAN:
                raise ValueError(f"{name}={span!r}: it needs to be longer than zero.")
        if self.fingerprint not in ("raw", "json"):
            raise ValueError(f"fingerprint={self.fingerprint!r}: there are 'raw' and 'json'.")
        if self.scope is not None and self.anonymous:
            raise ValueError("scope= says whose keys they are, so leave anonymous= out.")
        if self.resolve is not None and not self.foreign:
            raise ValueError("resolve= is asked about views with foreign=True only.")
        if (
            self.key_retention is not None
            and self.body_retention is not None
            and self.body_retention > self.key_retention
        ):
            raise ValueError("body_retention= is longer than key_retention=.")

    # Where the settings speak

    @property
    def is_strict(self) -> bool:
        return settings().idempotency_strict if self.strict is None else self.strict

    @property
    def keeps_5xx(self) -> bool:
        return settings().idempotency_replay_5xx if self.replay_5xx is None else self.replay_5xx

    @property
    def throttles_replays(self) -> bool:
        default = settings().idempotency_throttle_replays
        return default if self.throttle_replays is None else self.throttle_replays

    @property
    def lease_span(self) -> timedelta:
        return self.lease or settings().idempotency_lease

    @property
    def key_span(self) -> timedelta:
        return self.key_retention or settings().idempotency_key_retention

    @property
    def body_span(self) -> timedelta:
        """Never longer than the key is known."""
        return min(self.body_retention or settings().idempotency_body_retention, self.key_span)

    def is_kept(self, status: int) -> bool:
        """Whether an answer of that *status* is kept, so that a repeated request gets it again."""
        if status >= 500:  # noqa: PLR2004  # the server's fault
            return self.keeps_5xx
        return status not in settings().idempotency_not_stored

    def alias(self) -> str:
        """Where records and business rows are written, in one transaction."""
        return self.using or router.db_for_write(IdempotencyRecord)
