"""
What a worker knows of a delivery: as it was seen, what is asked for, and what it then holds.

Whoever holds a `Claimed` may act until its lease ends; everything it writes says the token.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from ..conf import settings
from ..effects.effect import Effect
from ..effects.keys import outgoing_key
from ..effects.registry import registry
from .models import OutboxEvent
from .states import Flag, State


@dataclass(frozen=True, slots=True)
class Seen:
    """A row as a hint's reader found it. Nothing is decided by it but whom to try to claim."""

    using: str
    id: int
    effect_name: str
    queue: str
    state: State
    flags: int
    notes: dict[str, Any] | None
    event_id: UUID
    due_at: datetime | None = None

    @property
    def effect(self) -> Effect[Any, Any] | None:
        return registry.find_effect(self.effect_name)

    @property
    def alone(self) -> bool:
        return bool(self.flags & Flag.ALONE)


UNREAD = object()
"""Nobody has asked for the subject yet."""


@dataclass(slots=True, eq=False)
class Claimed:
    """A delivery that is ours until its lease ends, and the event it is owed for."""

    using: str
    id: int
    token: int
    effect: Effect[Any, Any]
    queue: str
    key: UUID
    generation: int
    attempt: int
    flags: int
    notes: dict[str, Any]
    event: OutboxEvent | None  # None where somebody deleted it
    claimed_at: datetime  # by the database's clock
    due_at: datetime | None = None  # as it was found before the claim; for showing how late it is
    subject: Any = UNREAD  # as it was found after the claim, where that cost no round trip

    @property
    def verifying(self) -> bool:
        return bool(self.flags & Flag.VERIFYING)

    @property
    def idempotency_key(self) -> str:
        return str(outgoing_key(self.key, self.generation))


@dataclass(frozen=True, slots=True)
class Wanted:
    id: int
    state: State
    token: int
    lease: timedelta
    flags: int
    effect: Effect[Any, Any]
    due_at: datetime | None

    @classmethod
    def of(cls, seen: Seen, *, token: int | None = None) -> Wanted:
        """What to write for *seen*; a *token* is given to the members of one group."""
        effect = seen.effect
        assert effect is not None  # noqa: S101  # callers set unknown names apart
        flags, lease = Flag.BEGUN, effect.lease
        if token is not None:
            flags |= Flag.GROUP
            # All of a group wait for the one that runs. Where that hangs the others come back as
            # soon as a lost hint would; to run what had succeeded again is harmless.
            lease = min(lease, settings().relay_grace)
        if effect.verify is not None:
            flags |= Flag.VERIFIABLE
        if seen.state == State.UNCERTAIN:
            flags |= Flag.VERIFYING
        return cls(seen.id, seen.state, token or new_token(), lease, flags, effect, seen.due_at)


def new_token() -> int:
    """Random, because counters repeat after a crash or a restore. 63 bits fit a signed bigint."""
    return secrets.randbits(63)


def worker_name() -> str:
    return f"{socket.gethostname()[:80]}:{os.getpid()}"


# Flags that outlive a claim: all but those it writes, also such as only the next release knows.
KEPT = ~(Flag.GROUP | Flag.VERIFIABLE | Flag.VERIFYING) & 0x7FFF


def notes_of(value: Any) -> dict[str, Any] | None:
    """What is in no shape that we write, somebody else wrote: as good as nothing."""
    return value if isinstance(value, dict) else None
