"""
The status document of an event: what its serializer says, and nothing else, leaves the house.

In: events, already known to be the asker's. Out: a `Document` for each, in three queries at most,
however many they are.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from rest_framework import serializers

from ..effects import other_names
from ..outbox.models import Attempt, Delivery, OutboxEvent
from ..outbox.outward import OVER, Outward, of_event, with_outward
from .problems import problem

SOON, LATER = 2, 60  # seconds until it is worth asking again: shortest and longest


@dataclass(frozen=True, slots=True)
class Step:
    """One delivery, as outsiders see it."""

    effect: str
    status: Outward
    attempts: int
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True)
class Document:
    """One event, as outsiders see it."""

    id: UUID
    kind: str
    subject: str
    status: Outward
    created_at: datetime
    finished_at: datetime | None
    progress: Mapping[str, int]
    deliveries: Sequence[Step]
    result: Any
    error: Mapping[str, Any] | None
    links: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        return self.status in OVER

    @property
    def retry_after(self) -> int | None:
        """Seconds after which it is worth asking again; None where nothing more will happen."""
        if self.is_over:
            return None
        if self.status == Outward.NEEDS_REVIEW:
            return LATER
        if any(step.status == Outward.RUNNING for step in self.deliveries):
            return SOON
        ahead = [step.next_attempt_at for step in self.deliveries if step.next_attempt_at]
        # What has been due for long stands in a line: it will wait for as long again, for all we know.
        waits = [abs(instant - timezone.now()).total_seconds() for instant in ahead]
        return min(max(math.ceil(min(waits, default=0)), SOON), LATER)


class Deliveries:
    """The deliveries of *events*: all but those of *hidden* effects, in one query."""

    def __init__(self, events: Sequence[OutboxEvent], alias: str, hidden: Collection[str]) -> None:
        self._alias = alias
        rows = visible(Delivery.objects.using(alias), hidden)
        found = with_outward(rows.filter(event__in=[event.pk for event in events]))
        self._of: dict[UUID, list[Delivery]] = defaultdict(list)
        for row in found.order_by("pk"):
            self._of[row.event_id].append(row)

    def of(self, event: OutboxEvent) -> Sequence[Delivery]:
        return self._of.get(event.pk, ())

    def status(self, event: OutboxEvent) -> Outward:
        return of_event({word(row) for row in self.of(event)})

    def told_messages(self, told: Collection[str]) -> Mapping[int, str]:
        """By delivery: why the last attempt failed, where that is an exception among *told*."""
        failed = [
            row.pk for rows in self._of.values() for row in rows if word(row) == Outward.FAILED
        ]
        if not (failed and told):
            return {}
        attempts = Attempt.objects.using(self._alias).filter(delivery__in=failed).order_by("pk")
        last = {
            delivery: (kind, message)
            for delivery, kind, message in attempts.values_list(
                "delivery_id", "exception_type", "message"
            )
        }
        return {delivery: text for delivery, (kind, text) in last.items() if kind in told}


def visible(rows: QuerySet[Delivery], hidden: Collection[str]) -> QuerySet[Delivery]:
    return rows.exclude(effect__in=other_names.of_effects(hidden)) if hidden else rows


def word(row: Any) -> Outward:
    """What `with_outward` has found for it."""
    return Outward(row.outward)


def steps(rows: Iterable[Delivery], labels: Mapping[str, str]) -> list[Step]:
    return [
        Step(
            other_names.label(row.effect, labels),
            word(row),
            row.attempts,
            row.due_at if word(row) == Outward.PENDING else None,
        )
        for row in rows
    ]


def progress(rows: Sequence[Delivery]) -> dict[str, int]:
    waits = (Outward.PENDING, Outward.RUNNING)
    return {"done": sum(word(row) not in waits for row in rows), "total": len(rows)}


def finished_at(status: Outward, rows: Sequence[Delivery]) -> datetime | None:
    if status not in OVER:
        return None
    return max((row.finished_at for row in rows if row.finished_at), default=None)


_ERRORS = {
    Outward.FAILED: ("failed", "It could not be done", "Nothing more will be tried by itself."),
    Outward.NEEDS_REVIEW: (
        "needs-review",
        "It waits for a person",
        "How it stands is not known for certain. Nothing is lost; ask again later.",
    ),
}


def error_of(
    status: Outward, rows: Sequence[Delivery], told: Mapping[int, str]
) -> dict[str, Any] | None:
    """A problem without status; its detail is a message of ours, or one that may be told."""
    if status not in _ERRORS:
        return None
    code, title, detail = _ERRORS[status]
    messages = [told[row.pk] for row in rows if told.get(row.pk)]
    found = problem(code, 0, title, " ".join(messages) or detail)
    del found["status"]  # the request for this document did not fail
    return found


class StepSerializer(serializers.Serializer[Step]):
    effect = serializers.CharField()
    status = serializers.ChoiceField(choices=Outward.choices)
    attempts = serializers.IntegerField(help_text="the one under way included")
    next_attempt_at = serializers.DateTimeField(allow_null=True)


class ProgressSerializer(serializers.Serializer[Mapping[str, int]]):
    done = serializers.IntegerField(help_text="deliveries that have ended, in whatever way")
    total = serializers.IntegerField()


class ErrorSerializer(serializers.Serializer[Mapping[str, Any]]):
    type = serializers.CharField()
    title = serializers.CharField()
    detail = serializers.CharField()
    code = serializers.CharField()


# Only described, never rendered: see `problems`. No docstring, which OpenAPI would have.
class ProblemSerializer(ErrorSerializer):
    status = serializers.IntegerField()


class LinksSerializer(serializers.Serializer[Mapping[str, str | None]]):
    cancel = serializers.URLField(allow_null=True, help_text="POST; null where nothing can be")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # `self` is a name that a class body should not have.
        return {"self": serializers.URLField(), **super().get_fields()}


class DocumentSerializer(serializers.Serializer[Document]):
    id = serializers.UUIDField()
    kind = serializers.CharField(help_text="the event's name")
    subject = serializers.CharField(help_text="the primary key of what it is about")
    status = serializers.ChoiceField(choices=Outward.choices)
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    progress = ProgressSerializer()
    deliveries = StepSerializer(many=True)
    result = serializers.JSONField(allow_null=True)
    error = ErrorSerializer(allow_null=True)
    links = LinksSerializer()
