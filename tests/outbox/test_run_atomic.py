"""`atomic=True`: the effect's own writes and its completion are one transaction."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection, connections, transaction

from reliable_effects.clock import moved
from reliable_effects.exceptions import LeaseLost
from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.rescue import rescue
from reliable_effects.outbox.run import run
from reliable_effects.outbox.settle import settle
from reliable_effects.outbox.states import State
from reliable_effects.outbox.verdicts import Failed
from reliable_effects.signals import delivery_succeeded
from tests.outbox.conftest import (
    carry_out,
    claim_of,
    listening,
    pending_delivery,
    runs_of,
    write_down,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_atomic_effect_writes_once_and_is_done(make_effect):
    inside = []

    def function(order, ctx):
        inside.append(connection.in_atomic_block)
        write_down(order, ctx)

    delivery = pending_delivery(make_effect(function, atomic=True))

    with listening(delivery_succeeded) as told:
        carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert runs_of(delivery) == 1
    assert inside == [True]
    assert len(told) == 1


def test_other_effects_run_in_no_transaction(make_effect):
    """A row lock or a snapshot held during an HTTP call stops the shop."""
    inside = []
    delivery = pending_delivery(make_effect(lambda *_: inside.append(connection.in_atomic_block)))

    carry_out(delivery)

    assert inside == [False]


@pytest.mark.parametrize("error", [ValueError("late"), KeyboardInterrupt(), SystemExit(1)])
def test_an_atomic_effect_that_raises_has_written_nothing(error, make_effect):
    """Whatever it is that goes past."""

    def function(order, ctx):
        write_down(order, ctx)
        raise error

    delivery = pending_delivery(make_effect(function, atomic=True))

    carry_out(delivery)

    assert delivery.state == State.PENDING
    assert runs_of(delivery) == 0


def test_an_atomic_effect_killed_at_its_end_has_written_nothing(make_effect):
    """SIGKILL after its last line: the next worker does it, once in all."""
    parent = os.getpid()

    def function(order, ctx):
        write_down(order, ctx)
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    effect = make_effect(function, atomic=True)
    delivery = pending_delivery(effect)
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            deliver("default", [delivery.pk])
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    delivery.refresh_from_db()
    assert (delivery.state, runs_of(delivery)) == (State.RUNNING, 0)

    with moved(effect.lease + timedelta(seconds=1)):
        rescue("default", Turn(None))
        carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert delivery.attempts == 2
    assert runs_of(delivery) == 1


def test_an_atomic_effect_that_lost_its_lease_has_written_nothing(make_effect, caplog):
    """Another worker has it by now, and will write."""
    delivery = pending_delivery(make_effect(atomic=True))
    claimed = claim_of(delivery)
    Delivery.objects.update(claim_token=claimed.token // 2 + 1)  # as a rescue and a claim leave it

    verdict = run(claimed)
    settle(claimed, verdict)

    delivery.refresh_from_db()
    assert isinstance(verdict, Failed)
    assert isinstance(verdict.exception, LeaseLost)
    assert runs_of(delivery) == 0
    assert delivery.state == State.RUNNING
    assert not Attempt.objects.exists()
    assert "lease_lost" in caplog.text


def test_an_atomic_effect_that_another_worker_has_done_tells_nothing(make_effect):
    """It looked like a commit whose answer was lost: the shop's receivers heard of it twice."""
    delivery = pending_delivery(make_effect(atomic=True))
    claimed = claim_of(delivery)
    Delivery.objects.update(claim_token=None, lease_expires_at=None, state=State.SUCCEEDED)

    with listening(delivery_succeeded) as told:
        settle(claimed, run(claimed))

    assert told == []
    assert runs_of(delivery) == 0


def test_an_atomic_effect_that_cannot_commit_has_failed(make_effect):
    """A deferred constraint is checked when it is too late to catch it inside."""

    def function(order, ctx):
        write_down(order, ctx)
        LogEntry.objects.create(user_id=10**6, action_flag=1, object_repr="nobody's")

    delivery = pending_delivery(make_effect(function, atomic=True))

    carry_out(delivery)

    assert delivery.state == State.PENDING
    assert delivery.attempts == 1
    assert runs_of(delivery) == 0
    assert Attempt.objects.get().exception_type == "django.db.utils.IntegrityError"


@pytest.mark.parametrize(
    "begin",
    [lambda: connection.set_autocommit(False), lambda: transaction.atomic().__enter__()],
    ids=["autocommit off", "atomic never left"],
)
def test_an_effect_that_leaves_a_transaction_open_has_failed(begin, make_effect):
    """What it wrote would be rolled back later, and our own write with it."""

    def function(order, ctx):
        begin()
        write_down(order, ctx)

    delivery = pending_delivery(make_effect(function))

    carry_out(delivery)
    connection.close()  # what was not committed is gone now

    delivery.refresh_from_db()
    assert delivery.state == State.PENDING
    assert runs_of(delivery) == 0
    assert "left a transaction open" in Attempt.objects.get().message
