"""What one emit writes, before it is rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from .run_context import Run


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A row of OutboxEvent to be."""

    id: UUID
    subject_pk: str
    payload: str  # JSON text


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A row of Delivery to be."""

    event_id: UUID
    effect: str
    key: UUID
    queue: str
    hinted: bool  # a hint follows the commit, so the relay may wait for it


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything one call writes. Deliveries are in key order, so that two calls cannot deadlock."""

    name: str
    version: int
    subject_model: str
    correlation: UUID
    trace_id: str
    source: str
    events: Sequence[NewEvent]
    deliveries: Sequence[NewDelivery]
    parent: Run | None  # the effect's run that emits; its claim must still stand
    may_stand: bool  # an event or a debt of these may be written already
