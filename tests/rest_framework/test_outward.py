"""Six words for what outsiders are told; SQL and Python agree on them."""

from __future__ import annotations

import itertools

import pytest

from reliable_effects.clock import DbNow
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.outward import Outward, events_called, with_outward
from reliable_effects.outbox.states import Reason, State
from reliable_effects.rest_framework.documents import Deliveries

from .conftest import delivery_of, event_about, order_of

pytestmark = pytest.mark.django_db

WORDS = {
    (State.PENDING, ""): Outward.PENDING,
    (State.RUNNING, ""): Outward.RUNNING,
    (State.SUCCEEDED, ""): Outward.SUCCEEDED,
    (State.SKIPPED, Reason.NOT_NEEDED): Outward.SUCCEEDED,
    (State.SKIPPED, Reason.EFFECT_SKIPPED): Outward.SUCCEEDED,
    (State.SKIPPED, Reason.EXPIRED): Outward.CANCELLED,
    (State.SKIPPED, Reason.SUBJECT_GONE): Outward.CANCELLED,
    (State.CANCELLED, ""): Outward.CANCELLED,
    (State.UNCERTAIN, ""): Outward.NEEDS_REVIEW,
    (State.POISONED, Reason.ATTEMPTS_SPENT): Outward.FAILED,
    (State.POISONED, Reason.REFUSED): Outward.FAILED,
    (State.POISONED, Reason.KILLED_WORKERS): Outward.FAILED,
    (State.POISONED, Reason.TIMED_OUT): Outward.FAILED,
    (State.POISONED, Reason.SUBJECT_GONE): Outward.FAILED,
    (State.POISONED, Reason.SNOOZED_OUT): Outward.FAILED,
    (State.POISONED, Reason.UNKNOWN_EFFECT): Outward.NEEDS_REVIEW,
    (State.POISONED, Reason.UNREADABLE): Outward.NEEDS_REVIEW,
    (State.POISONED, Reason.STILL_OWED): Outward.NEEDS_REVIEW,
}


def test_each_state_and_reason_has_its_word():
    """A new reason is given one here."""
    event = event_about(order_of("ada"))
    for state, reason in WORDS:
        delivery_of(event, state, reason=reason)

    told = {
        (row.state, row.reason): row.outward
        for row in with_outward(Delivery.objects.filter(event=event))
    }

    assert told == WORDS
    assert {reason for _, reason in WORDS} == set(Reason)


def test_what_a_worker_will_ask_after_is_under_way():
    """Nobody needs to look at it yet."""
    row = delivery_of(event_about(order_of("ada")), State.UNCERTAIN, look_at=DbNow())

    assert with_outward(Delivery.objects.filter(pk=row.pk)).get().outward == Outward.RUNNING


def test_a_list_is_filtered_by_what_each_event_is_called():
    """Every mixture of the states of three deliveries: one word each, and the same in SQL."""
    order = order_of("ada")
    kinds = [State.PENDING, State.RUNNING, State.SUCCEEDED, State.CANCELLED, State.UNCERTAIN]
    kinds += [State.POISONED]
    for number in range(4):
        for states in itertools.combinations_with_replacement(kinds, number):
            event = event_about(order)
            for state in states:
                delivery_of(event, state)
    events = list(OutboxEvent.objects.all())
    rows = Deliveries(events, "default", ())

    found = {
        word: set(OutboxEvent.objects.filter(events_called(word, Delivery.objects.all())))
        for word in Outward
    }

    assert found == {
        word: {event for event in events if rows.status(event) == word} for word in Outward
    }
    assert all(found.values())
