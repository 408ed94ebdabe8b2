"""`verify` answers what became of a call whose answer was never seen. It is work, and is bounded."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

import pytest
from django.db import connections

from reliable_effects import Uncertain
from reliable_effects.clock import moved
from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.rescue import rescue
from reliable_effects.outbox.states import Flag, Reason, State
from reliable_effects.signals import delivery_poisoned, delivery_uncertain
from tests.outbox.conftest import (
    carry_out,
    claim_of,
    listening,
    pending_delivery,
    raising,
    runs_of,
    uncertain_delivery,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_uncertain_is_verified_in_a_claim_of_its_own(make_effect):
    """Due, hinted and claimed like a pending one."""
    asked = []
    effect = make_effect(
        raising(Uncertain("no answer")), verify=lambda _, ctx: asked.append(ctx) or True
    )
    delivery = pending_delivery(effect)

    with listening(delivery_uncertain) as told:
        carry_out(delivery)
    assert delivery.state == State.UNCERTAIN
    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert delivery.attempts == 1
    assert [ctx.idempotency_key for ctx in asked] == [delivery.idempotency_key]
    assert [t["waits_for_a_person"] for t in told] == [False]


def test_what_did_not_happen_runs_again_under_its_key(make_effect):
    delivery = uncertain_delivery(make_effect(verify=lambda *_: False))

    carry_out(delivery)
    assert delivery.state == State.PENDING
    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert delivery.attempts == 2
    assert runs_of(delivery) == 1


def test_what_did_not_happen_and_has_no_attempt_left_is_poisoned(make_effect):
    delivery = uncertain_delivery(make_effect(verify=lambda *_: False, max_attempts=1))

    with listening(delivery_poisoned) as told:
        carry_out(delivery)

    assert (delivery.state, delivery.reason) == (State.POISONED, Reason.ATTEMPTS_SPENT)
    assert runs_of(delivery) == 0
    assert len(told) == 1


@pytest.mark.parametrize(
    "verify",
    [lambda *_: None, raising(ValueError("no")), raising(SystemExit(1)), raising(MemoryError())],
    ids=["None", "ValueError", "SystemExit", "MemoryError"],
)
def test_what_cannot_be_told_is_asked_again_and_then_waits_for_a_person(verify, make_effect):
    """As often as it may be tried; a second charge is worse than a late one."""
    delivery = uncertain_delivery(make_effect(verify=verify, max_attempts=3))

    with listening(delivery_uncertain) as told:
        for _ in range(5):
            carry_out(delivery)

    assert delivery.state == State.UNCERTAIN
    assert delivery.look_at is None
    assert delivery.notes["verifies"] == 3
    assert delivery.attempts == 1
    assert runs_of(delivery) == 0
    assert [t["waits_for_a_person"] for t in told] == [False, False, True]


def test_a_question_is_counted_before_it_is_asked(make_effect):
    """A question that kills its worker is counted too."""
    counted = []
    effect = make_effect(verify=lambda *_: counted.append(Delivery.objects.get().notes["verifies"]))
    delivery = uncertain_delivery(effect)

    carry_out(delivery)

    assert counted == [1]


def test_a_question_that_kills_workers_waits_for_a_person(make_effect):
    """Each kill is known; the fleet must not bleed for one answer."""
    parent = os.getpid()

    def verify(*_):
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    effect = make_effect(verify=verify)
    delivery = uncertain_delivery(effect)

    for kill in range(1, 4):
        with moved(timedelta(hours=kill)):
            _killed_while_delivering(delivery)
        with moved(timedelta(hours=kill) + effect.lease):
            rescue("default", Turn(None))

    delivery.refresh_from_db()
    assert delivery.state == State.UNCERTAIN
    assert delivery.look_at is None
    assert delivery.notes["kills"] == 3
    assert delivery.attempts == 1
    assert Attempt.objects.filter(outcome=Attempt.Outcome.LOST).count() == 3


def test_a_killer_that_did_not_happen_is_convicted(make_effect):
    """The effect killed each time, and verify says so each time: enough."""
    effect = make_effect(verify=lambda *_: False)
    delivery = uncertain_delivery(effect, notes={"kills": 3}, flags=Flag.BEGUN | Flag.ALONE)

    carry_out(delivery)

    assert (delivery.state, delivery.reason) == (State.POISONED, Reason.KILLED_WORKERS)


def test_a_lost_run_becomes_uncertain_where_it_can_be_verified(make_effect):
    """The worker died; whether before or after the call, only verify can tell."""
    effect = make_effect(verify=lambda *_: True)
    delivery = pending_delivery(effect)
    claim_of(delivery)

    with moved(effect.lease + timedelta(seconds=1)):
        rescue("default", Turn(None))
        delivery.refresh_from_db()
        assert delivery.state == State.UNCERTAIN
        carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert runs_of(delivery) == 0


def test_an_effect_that_no_longer_verifies_leaves_it_to_a_person(make_effect):
    """A release took `verify` away while rows were uncertain."""
    delivery = uncertain_delivery(make_effect())

    carry_out(delivery)

    assert delivery.state == State.UNCERTAIN
    assert delivery.look_at is None
    assert runs_of(delivery) == 0


def test_verify_is_asked_though_it_is_not_needed_or_expired(make_effect):
    """What may have happened must be known, whatever is needed now."""
    effect = make_effect(
        verify=lambda *_: True,
        still_needed=lambda _: False,
        expires_after=timedelta(microseconds=1),
    )
    delivery = uncertain_delivery(effect)

    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED


def test_a_subject_that_cannot_be_loaded_is_no_answer(make_effect):
    """Taken for a failed attempt it would run again, though it may have happened."""
    delivery = uncertain_delivery(
        make_effect(verify=lambda *_: True, max_attempts=2), event={"subject_pk": "no number"}
    )

    for _ in range(4):
        carry_out(delivery)

    assert delivery.state == State.UNCERTAIN
    assert delivery.look_at is None
    assert delivery.notes["verifies"] == 2
    assert delivery.attempts == 1


def _killed_while_delivering(delivery: Delivery) -> None:
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            deliver("default", [delivery.pk])
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
