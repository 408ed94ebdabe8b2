"""
What outsiders are told of deliveries and events: six words instead of states and reasons.

Each word is decided once, in SQL; what an event is called follows from its deliveries, and a list
can be filtered by it.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

from django.db.models import (
    Case,
    CharField,
    Exists,
    OuterRef,
    Q,
    QuerySet,
    TextChoices,
    Value,
    When,
)

from .models import Delivery
from .states import Reason, State


class Outward(TextChoices):
    PENDING = "pending", "waits"
    RUNNING = "running", "is under way"
    SUCCEEDED = "succeeded", "is done, or was not needed any more"
    FAILED = "failed", "could not be done"
    CANCELLED = "cancelled", "was given up, or came too late"
    NEEDS_REVIEW = "needs_review", "a person has to look at it"


OVER = frozenset({Outward.SUCCEEDED, Outward.FAILED, Outward.CANCELLED})
"""Nothing more will happen by itself. What needs review goes on when a person has decided."""

# These say nothing of what was asked for: it is our own release, or our own facts, that are amiss.
_OURS = (Reason.UNKNOWN_EFFECT, Reason.UNREADABLE, Reason.STILL_OWED)
_WORDS = (
    (Q(state=State.PENDING), Outward.PENDING),
    # What is uncertain is asked after by a worker, or else waits for a person.
    (Q(state=State.RUNNING) | Q(state=State.UNCERTAIN, look_at__isnull=False), Outward.RUNNING),
    (Q(state=State.UNCERTAIN) | Q(state=State.POISONED, reason__in=_OURS), Outward.NEEDS_REVIEW),
    (Q(state=State.POISONED), Outward.FAILED),
    (
        Q(state=State.CANCELLED)
        | Q(state=State.SKIPPED, reason__in=(Reason.EXPIRED, Reason.SUBJECT_GONE)),
        Outward.CANCELLED,
    ),
)


def with_outward(rows: QuerySet[Delivery]) -> QuerySet[Any]:
    """*rows*, each with its word as `outward`."""
    cases = [When(condition, then=Value(word.value)) for condition, word in _WORDS]
    default = Value(Outward.SUCCEEDED.value)
    return rows.annotate(outward=Case(*cases, default=default, output_field=CharField()))


def of_event(words: AbstractSet[Outward]) -> Outward:
    """What an event is called whose deliveries are called *words*."""
    if words & {Outward.PENDING, Outward.RUNNING}:
        return Outward.PENDING if words == {Outward.PENDING} else Outward.RUNNING
    for worst in (Outward.NEEDS_REVIEW, Outward.FAILED, Outward.CANCELLED):
        if worst in words:
            return worst
    return Outward.SUCCEEDED  # also where nothing was owed


def events_called(word: Outward, deliveries: QuerySet[Delivery]) -> Q:
    """The same as a condition on events, each of which has what of *deliveries* is its own."""
    rows = with_outward(deliveries.filter(event_id=OuterRef("pk")))

    def some(*words: Outward) -> Q:
        return Q(Exists(rows.filter(outward__in=words)))

    def some_but(*words: Outward) -> Q:
        return Q(Exists(rows.exclude(outward__in=words)))

    over = ~some(Outward.PENDING, Outward.RUNNING)
    match word:
        case Outward.PENDING:
            return some(Outward.PENDING) & ~some_but(Outward.PENDING)
        case Outward.RUNNING:
            mixed = some(Outward.PENDING) & some_but(Outward.PENDING)
            return some(Outward.RUNNING) | mixed
        case Outward.NEEDS_REVIEW:
            return over & some(Outward.NEEDS_REVIEW)
        case Outward.FAILED:
            return over & some(Outward.FAILED) & ~some(Outward.NEEDS_REVIEW)
        case Outward.CANCELLED:
            worse = some(Outward.NEEDS_REVIEW, Outward.FAILED)
            return over & some(Outward.CANCELLED) & ~worse
        case _:
            return ~some_but(Outward.SUCCEEDED)
