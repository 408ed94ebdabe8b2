"""What an effect is told about its run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from .keys import derive

P = TypeVar("P")


class EmittedEvent(Protocol):
    """The event's row, to read."""

    id: UUID
    name: str
    version: int
    subject_model: str
    subject_pk: str
    correlation: UUID
    trace_id: str
    source: str
    emitted_at: datetime


@dataclass(slots=True, eq=False)
class EffectContext(Generic[P]):
    """
    The second argument of every effect.

    `idempotency_key` is the same for every attempt of this delivery, on every worker and release:
    send it to the partner, and a repeated call is one call. `attempt` counts from 1. `deadline`
    is when the run's timeout ends.
    """

    delivery_id: int
    idempotency_key: str
    attempt: int
    event: EmittedEvent
    payload: P
    deadline: datetime
    logger: logging.LoggerAdapter[Any] = field(repr=False)
    _beat: Callable[[], datetime] = field(repr=False)

    def key_for(self, call: str) -> str:
        """A key of its own for one of several calls: `ctx.key_for("refund")`."""
        return str(derive(UUID(self.idempotency_key), "call", call))

    def heartbeat(self) -> None:
        """
        "Still at it": begin timeout, lease and `deadline` anew. One UPDATE.

        Raises:
            LeaseLost: the delivery is somebody else's by now; stop, and write nothing more.
            EffectTimeout: the effect's `max_runtime` is over; more of it is not to be had.
        """
        self.deadline = self._beat()
