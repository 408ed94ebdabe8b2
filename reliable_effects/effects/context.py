"""What an effect is told about its run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from .keys import call_key
from .sending import Call, KeyPlace

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
    _send: Callable[[Call, datetime], Any] = field(repr=False)

    def key_for(self, call: str) -> str:
        """A key of its own for one of several calls: `ctx.key_for("refund")`."""
        return str(call_key(UUID(self.idempotency_key), call))

    def send(
        self,
        method: str,
        url: str,
        *,
        key: KeyPlace | None,
        window: timedelta | None = None,
        call: str = "",
        json: Any = None,
        data: Mapping[str, Any] | Sequence[tuple[str, Any]] | bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        client: Any = None,
        timeout: timedelta | None = None,
    ) -> Any:
        """
        Ask a partner to do something, once: one request, whose outcome is known or written down.

        key: where the partner looks for its idempotency key, `Header("Idempotency-Key")`; None
        where it takes none. window: how long it remembers keys; None where nobody knows, and then what
        may have happened is never sent again: `verify` is asked, else a person. So it is after the
        window. call: a name for
        each of several calls of one effect; each gets `key_for(call)`, else `idempotency_key`.
        json, data: the body, which must be the same in every attempt. client: a `requests.Session`
        or an `httpx.Client`; the answer is one of its own. timeout: for the answer; never longer
        than is left of the run.

        Returns the answer where it is a success (2xx).

        Raises:
            SentInsideTransaction: a transaction is open, and its locks would wait for the partner.
            LeaseLost: the delivery is somebody else's by now; nothing was sent.
            NotSent, AnswerLost, Unavailable: another attempt may do; the effect is run again.
            TryLater: the partner says when; no attempt is spent.
            Refused, RequestChanged: no attempt can do.
            Doubtful: it may have happened, and must not be sent again.

        All but the first two are in `reliable_effects.outgoing`; an effect need not catch them.
        """
        wanted = Call(
            method=method, url=url, key=key, window=window, name=call, json=json, data=data,
            headers=headers, client=client, timeout=timeout,
        )  # fmt: skip
        return self._send(wanted, self.deadline)

    def heartbeat(self) -> None:
        """
        "Still at it": begin timeout, lease and `deadline` anew. One UPDATE.

        Raises:
            LeaseLost: the delivery is somebody else's by now; stop, and write nothing more.
            EffectTimeout: the effect's `max_runtime` is over; more of it is not to be had.
        """
        self.deadline = self._beat()
