"""What an effect says of a call to a partner, and where `ctx.send` finds whoever makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Request:
    """One call as it will be sent: the same bytes for both clients, and for every attempt."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | None = field(repr=False)


class KeyPlace(Protocol):
    """Where a partner wants the idempotency key: `Header(…)`, `BodyField(…)`, `Parameter(…)`."""

    def put(self, request: Request, key: str, first_sent_at: datetime) -> Request: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The arguments of `ctx.send`; see there."""

    method: str
    url: str
    key: KeyPlace | None
    window: timedelta | None
    name: str
    json: Any = field(repr=False)
    data: Any = field(repr=False)
    headers: Mapping[str, str] | None = field(repr=False)
    client: Any
    timeout: timedelta | None


class Sender(Protocol):
    """What `outgoing` offers to `ctx.send`: *claimed* is the outbox's, *subject* the effect's."""

    def send(self, call: Call, *, claimed: Any, subject: Any, deadline: datetime) -> Any: ...
