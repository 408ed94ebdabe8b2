"""
What the database does to an effect is not the effect's failure, up to a point.

An attempt is given back where the database failed around the effect, and three times at most: an
effect that deadlocks with itself, or holds its transaction for too long, must end up with a person.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import OperationalError, connection

from reliable_effects.clock import moved
from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.states import Reason, State
from tests.faults.outside import Outside
from tests.outbox.conftest import carry_out, pending_delivery

pytestmark = pytest.mark.django_db(transaction=True)

INTERRUPTIONS = 3  # given back, of one delivery


@pytest.fixture
def outside(tmp_path) -> Outside:
    return Outside(tmp_path / "calls")


def losing(outside: Outside, *, times: int = 1000):
    """An effect that loses a deadlock, the first *times* that it is run."""

    def loses(order, ctx):
        outside.write(f"order {order.pk}", ctx.idempotency_key)
        if len(outside.calls()) <= times:
            raise OperationalError("deadlock detected")

    return loses


def _carry_out_in_time(delivery: Delivery, times: int) -> None:
    for hours in range(1, times + 1):
        with moved(timedelta(hours=hours)):
            carry_out(delivery)


@pytest.mark.fault("an atomic effect loses a deadlock", rows="C13 D6")
def test_an_atomic_effect_that_lost_a_deadlock_has_not_failed(make_effect, outside, evidence):
    """All that it wrote was taken back, so nothing was tried, and no attempt is spent."""
    delivery = pending_delivery(make_effect(losing(outside, times=1), atomic=True, max_attempts=1))

    _carry_out_in_time(delivery, 2)

    assert (delivery.state, delivery.attempts) == (State.SUCCEEDED, 1)
    assert not Attempt.objects.exists()
    _judge(outside, delivery, evidence)


@pytest.mark.fault("an atomic effect loses a deadlock whenever it is run", rows="D6 W4")
def test_an_effect_that_always_deadlocks_is_set_aside(make_effect, outside, evidence):
    """It is interrupted for ever only by its own doing."""
    delivery = pending_delivery(make_effect(losing(outside), atomic=True, max_attempts=2))

    _carry_out_in_time(delivery, INTERRUPTIONS + 4)

    assert (delivery.state, delivery.reason) == (State.POISONED, Reason.ATTEMPTS_SPENT)
    assert (delivery.attempts, Attempt.objects.count()) == (2, 2)
    assert len(outside.calls()) == INTERRUPTIONS + 2
    _judge(outside, delivery, evidence)


@pytest.mark.fault("an effect meets an error of the database that it does not catch", rows="D6 W15")
def test_what_an_effect_itself_is_told_by_the_database_is_its_failure(
    make_effect, outside, evidence
):
    """Not atomic: what it did before stands, and nobody but its author knows what to make of it."""
    delivery = pending_delivery(make_effect(losing(outside, times=1)))

    _carry_out_in_time(delivery, 2)

    assert (delivery.state, delivery.attempts) == (State.SUCCEEDED, 2)
    assert Attempt.objects.get().outcome == Attempt.Outcome.FAILED
    _judge(outside, delivery, evidence)


@pytest.mark.fault("the database fails while a worker asks whether it is still needed", rows="D6")
def test_a_question_that_could_not_be_asked_is_asked_again(make_effect, outside, evidence):
    """`still_needed` is the project's, and so may be what it reads."""
    asked: list[int] = []

    def still_needed(order) -> bool:
        asked.append(order.pk)
        if len(asked) == 1:
            with connection.wrap_database_errors:
                raise connection.Database.OperationalError("server closed the connection")
        return True

    delivery = pending_delivery(make_effect(losing(outside, times=0), still_needed=still_needed))

    carry_out(delivery)

    assert (delivery.state, delivery.attempts, len(asked)) == (State.SUCCEEDED, 1, 2)
    _judge(outside, delivery, evidence)


def _judge(outside: Outside, delivery: Delivery, evidence) -> None:
    verdict = outside.judge({f"order {delivery.event.subject_pk}"})
    evidence.judged(verdict)
    assert verdict.other_keys == 0
