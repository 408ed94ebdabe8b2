"""One sentence says why a delivery is not running."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from reliable_effects.clock import DbNow
from reliable_effects.console.timeline.why import Kind, why
from reliable_effects.controls.models import EffectControl
from reliable_effects.outbox import dispatch
from reliable_effects.outbox.heartbeat import CLAIMS
from reliable_effects.outbox.models import Attempt, Delivery, Sweep
from reliable_effects.outbox.pausing import pause
from reliable_effects.outbox.states import Flag, Notes, Reason, State
from reliable_effects.outbox.unknown import SINCE
from tests.outbox.conftest import (
    IN_STATE,
    cancelled_delivery,
    expired_delivery,
    pending_delivery,
    poisoned_delivery,
    running_delivery,
    skipped_delivery,
    succeeded_delivery,
    uncertain_delivery,
)

pytestmark = pytest.mark.django_db

HOUR = timedelta(minutes=59, seconds=50)  # and "59 min" for fifty seconds to come
SENDS = {"TRANSPORT": "tests.recording.send"}


@pytest.fixture
def _a_worker() -> None:
    """Somebody takes what is in the queue."""
    Sweep.objects.create(name=CLAIMS + "effects")


def said(row: Delivery) -> tuple[Kind, str]:
    told = why(row)
    return told.kind, told.sentence


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (succeeded_delivery, "succeeded"),
        (skipped_delivery, "skipped (no longer needed)"),
        (cancelled_delivery, "cancelled"),
    ],
)
def test_it_has_ended(make, words):
    """Then nothing is to come."""
    kind, sentence = said(make())

    assert kind == Kind.ENDED
    assert words in sentence
    assert "ago" in sentence


def test_a_person_must_decide_about_a_poison_pill():
    """Nobody else will."""
    kind, sentence = said(poisoned_delivery(reason=Reason.TIMED_OUT))

    assert kind == Kind.PERSON
    assert "ran out of time" in sentence
    assert "redrive it, edit its payload, or cancel it" in sentence


def test_an_unknown_effect_that_was_set_aside_comes_back_by_itself():
    """Nobody needs to redrive it."""
    kind, sentence = said(poisoned_delivery("gone.effect", reason=Reason.UNKNOWN_EFFECT))

    assert kind == Kind.PERSON
    assert "comes back by itself" in sentence


def test_a_person_must_say_what_became_of_what_cannot_be_verified():
    """Only somebody who looks can know."""
    kind, sentence = said(uncertain_delivery(look_at=None))

    assert kind == Kind.PERSON
    assert "settle it" in sentence


def test_a_worker_has_it_until_its_lease_ends():
    """Who, and until when."""
    kind, sentence = said(running_delivery(worker="web-3:99"))

    assert kind == Kind.RUNNING
    assert sentence.startswith("web-3:99 is running it and holds its lease until ")


def test_a_worker_that_only_asks_is_said_to_ask():
    """The effect is not run."""
    row = running_delivery(flags=Flag.BEGUN | Flag.VERIFYING)

    assert "asks what became of it" in said(row)[1]


def test_a_worker_that_was_not_heard_of_has_lost_it():
    """The rescue will take it back."""
    kind, sentence = said(expired_delivery(worker="web-3:99"))

    assert kind == Kind.LOST
    assert "web-3:99 had it until" in sentence
    assert "rescue" in sentence


@pytest.mark.usefixtures("_a_worker")
def test_it_is_paused_by_whom_until_when_and_why():
    """Who to ask, and when to look again."""
    pause("shop.wrap", by="ada", why="the paper is out")
    kind, sentence = said(pending_delivery("shop.wrap"))
    assert kind == Kind.PAUSED
    assert "paused by ada since " in sentence
    assert "until a person resumes it: the paper is out." in sentence

    EffectControl.objects.update(paused_until=DbNow() + HOUR)
    assert "in 59 min" in said(pending_delivery("shop.wrap"))[1]

    EffectControl.objects.update(paused_until=DbNow() - HOUR)
    assert said(pending_delivery("shop.wrap"))[0] == Kind.NEXT


@pytest.mark.usefixtures("_a_worker")
def test_a_pause_under_another_name_of_the_effect_counts(make_effect):
    """Rows carry the name of the release that wrote them."""
    effect = make_effect(aliases=["test.old_name"])
    EffectControl.objects.create(effect="test.old_name", paused_at=DbNow(), by="ada")

    assert said(pending_delivery(effect))[0] == Kind.PAUSED


def test_a_pause_of_what_is_not_due_says_both():
    """Else somebody resumes it and wonders."""
    pause("shop.wrap", by="ada", why="x")

    sentence = said(pending_delivery("shop.wrap", due_at=DbNow() + HOUR))[1]

    assert "paused by ada" in sentence
    assert "not due until" in sentence


def test_it_is_not_due_until():
    """It was asked for then."""
    kind, sentence = said(pending_delivery(due_at=DbNow() + HOUR, look_at=DbNow() + HOUR))

    assert kind == Kind.NOT_DUE
    assert sentence.startswith("It is not due until ")
    assert "in 59 min" in sentence


def test_a_snooze_says_how_long_it_has_asked_for():
    """It may be waiting for something that never comes."""
    row = pending_delivery(due_at=DbNow() + HOUR, notes={Notes.SNOOZED: 7200})

    assert "2 h of rest in all" in said(row)[1]


def test_a_retry_says_when_it_failed_and_when_it_is_tried_again():
    """Backoff is no idleness."""
    row = pending_delivery(attempts=2, due_at=DbNow() + HOUR, look_at=DbNow() + HOUR)
    Attempt.objects.create(delivery=row, number=2, outcome="failed")

    kind, sentence = said(row)

    assert kind == Kind.RETRY
    assert sentence.startswith("Attempt 2 failed ")
    assert "tried again" in sentence


def test_verify_is_asked_later():
    """The effect does not run meanwhile."""
    kind, sentence = said(uncertain_delivery(due_at=DbNow() + HOUR, look_at=DbNow() + HOUR))

    assert kind == Kind.VERIFY_LATER
    assert "its verify is asked" in sentence


@pytest.mark.usefixtures("_a_worker")
def test_verify_is_asked_next():
    """As soon as a worker is free."""
    kind, sentence = said(uncertain_delivery())

    assert kind == Kind.VERIFY
    assert "verify" in sentence


@pytest.mark.usefixtures("_a_worker")
@pytest.mark.parametrize("since", ["2026-11-01T10:00:00+00:00", "last tuesday", None, 7])
def test_no_worker_knows_its_effect(since):
    """Nor does this release, which can say no more."""
    row = pending_delivery("gone.effect", notes={SINCE: since})

    kind, sentence = said(row)

    assert kind == Kind.UNKNOWN
    assert "does not know the effect gone.effect" in sentence
    assert ("no worker has known it since" in sentence) == isinstance(since, str)


@pytest.mark.usefixtures("_a_worker")
def test_workers_of_an_older_release_do_not_know_what_this_one_knows():
    """A deploy that is half done."""
    row = pending_delivery(notes={SINCE: "2026-11-01T10:00:00+00:00"})

    assert said(row)[0] == Kind.UNKNOWN


@pytest.mark.usefixtures("_a_worker")
@pytest.mark.parametrize(
    ("columns", "because"),
    [
        ({"notes": {Notes.INTERRUPTED: 1}}, "the database failed"),
        ({"flags": Flag.BEGUN | Flag.ALONE}, "runs alone"),
        ({}, "when its turn came"),
    ],
)
def test_it_was_put_off(columns, because):
    """Until when, and for what."""
    kind, sentence = said(pending_delivery(look_at=DbNow() + timedelta(minutes=2), **columns))

    assert kind == Kind.PUT_OFF
    assert because in sentence


def test_no_worker_was_seen_for_its_queue():
    """Work that nobody takes looks like work that is late."""
    row = pending_delivery(queue="payments", due_at=DbNow() - HOUR)
    kind, sentence = said(row)
    assert kind == Kind.NO_WORKER
    assert "No worker was ever seen for its queue, payments." in sentence

    Sweep.objects.create(name=CLAIMS + "payments", ran_at=DbNow() - HOUR)
    kind, sentence = said(row)
    assert kind == Kind.NO_WORKER
    assert "The last was seen" in sentence


def test_where_emit_sends_no_hints_for_want_of_a_worker_it_says_so():
    """Who starts one need not wonder."""
    Sweep.objects.create(name=dispatch.UNCONSUMED + "effects")

    kind, sentence = said(pending_delivery())

    assert kind == Kind.NO_WORKER
    assert "emit sends no hints" in sentence


@pytest.mark.usefixtures("_a_worker")
def test_a_queue_whose_workers_have_just_come_back_gets_hints_again_soon():
    """The gate is closed until the relay has looked."""
    Sweep.objects.create(name=dispatch.UNCONSUMED + "effects")

    kind, sentence = said(pending_delivery())

    assert kind == Kind.NO_HINTS
    assert "sends it no hints" in sentence


def test_what_has_only_just_become_due_blames_nobody():
    """A worker that never had anything to do was never seen."""
    assert said(pending_delivery())[0] == Kind.NEXT


@pytest.mark.usefixtures("_a_worker")
@override_settings(RELIABLE_EFFECTS=SENDS | {"RELAY_OUTSTANDING": 2})
def test_the_relay_has_as_many_hints_outstanding_as_it_may():
    """Then it waits its turn."""
    row = pending_delivery(look_at=DbNow() - timedelta(seconds=1))
    for _ in range(3):
        pending_delivery(hints=1, look_at=DbNow() + timedelta(minutes=1))
    pending_delivery(look_at=DbNow() - timedelta(seconds=9))
    pending_delivery(look_at=DbNow() - timedelta(seconds=9), queue="payments")

    kind, sentence = said(row)

    assert kind == Kind.BEHIND
    assert "2 hints outstanding" in sentence
    assert "1 in front of it" in sentence


@pytest.mark.usefixtures("_a_worker")
@override_settings(RELIABLE_EFFECTS=SENDS)
def test_a_hint_of_it_is_under_way():
    """And when there will be another."""
    row = pending_delivery(hints=2, look_at=DbNow() + timedelta(seconds=40))
    pending_delivery(hints=1, look_at=DbNow() + timedelta(seconds=40))

    kind, sentence = said(row)

    assert kind == Kind.HINTED
    assert "2 hints" in sentence
    assert "1 others" in sentence


@pytest.mark.usefixtures("_a_worker")
@pytest.mark.parametrize(("transport", "who"), [(SENDS, "relay"), ({}, "effects_worker")])
def test_it_is_next(transport, who):
    """Nothing is wrong."""
    with override_settings(RELIABLE_EFFECTS={"TRANSPORT": "none"} | transport):
        kind, sentence = said(pending_delivery())

    assert kind == Kind.NEXT
    assert who in sentence
    assert "the first in line" in sentence


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("notes", ["damaged", [1], {"round": "x"}, 7])
def test_damaged_notes_are_no_reason_to_say_nothing(state, notes):
    """Somebody wrote into the table by hand."""
    assert said(IN_STATE[state](notes=notes))[1]


def test_it_asks_few_things_and_as_many_whatever_lies_in_the_tables():
    """The page of one delivery is opened while the tables are full."""

    def asked() -> int:
        row = pending_delivery()
        with CaptureQueriesContext(connection) as queries:
            why(row)
        return len(queries)

    before = asked()
    for _ in range(20):
        pending_delivery(hints=1, look_at=DbNow() + timedelta(minutes=1))

    assert asked() == before <= 6
