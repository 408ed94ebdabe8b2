"""Hints that a worker has fetched and not done: it is killed, gives them back, or is too slow."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

import kombu
import pytest
import redis
from django.db import connection

from reliable_effects.outbox import dispatch
from reliable_effects.outbox.models import Delivery
from tests.conftest import not_tested
from tests.faults.evidence import IS_FULL
from tests.services import Missing, Redis
from tests.services.wrong_clock import set_clock, shifted
from tests.waiting import eventually

from . import effects
from .conftest import all_done, go_file, promise

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.one_database,
    pytest.mark.full,  # each starts workers of its own
]

HOUR, HALF_AN_HOUR = timedelta(hours=1), timedelta(minutes=30)


@pytest.fixture(autouse=True)
def _nothing_is_left(broker) -> None:
    """What the workers of the last test had fetched, say."""
    broker.wipe()


@pytest.fixture
def an_hour_ahead(tmp_path) -> dict[str, str]:
    """The environment of a worker whose clock is."""
    file = tmp_path / "clock"
    set_clock(file, HOUR)
    try:
        return shifted(file)
    except Missing as missing:
        not_tested(missing)


@pytest.mark.fault("a worker is killed with hints that it has fetched and not yet begun", rows="W1")
@pytest.mark.usefixtures("impatient_web")
def test_what_a_killed_worker_had_fetched_is_done_by_another(fleet, outside, evidence):
    """The broker gives its hints to others at once, in an hour, or never."""
    first = fleet.start()
    words = promise(effects.wait)
    eventually(outside.calls, within=20)
    words |= promise(effects.note, 10)

    os.killpg(first.pid, signal.SIGKILL)
    go_file(outside).touch()
    fleet.start()

    all_done(outside, words, within=60)
    verdict = outside.judge(words)
    assert verdict.extra_runs <= 1  # what it was at
    assert verdict.other_keys == 0
    evidence.judged(verdict)


@pytest.mark.fault("a worker fetches hints and gives them back, again and again", rows="B7")
@pytest.mark.usefixtures("impatient_web")
def test_hints_that_were_given_back_are_done_once(broker, fleet, outside, evidence):
    """It is shut down and started by somebody's deploy; then they come marked as redelivered."""
    times = 10 if IS_FULL else 3
    with kombu.Connection(broker.url) as client:
        # As Celery would declare it; it need not have been there.
        queue = kombu.Queue("effects", kombu.Exchange("effects"), "effects")(client.channel())
        queue.declare()
        words = promise(effects.note, 10)
        for _ in range(times):
            fetched = [eventually(queue.get) for _ in range(10)]
            for message in fetched:
                message.requeue()

        fleet.start(children=2)
        all_done(outside, words)
    verdict = outside.judge(words)
    assert (verdict.extra_runs, verdict.other_keys) == (0, 0)
    evidence.add(strikes=times, lost=verdict.lost, phantom=verdict.phantom)


@pytest.mark.fault(
    "a worker whose clock is an hour ahead has others' hints redelivered", rows="B12 T4"
)
@pytest.mark.usefixtures("impatient_web")
def test_a_worker_whose_clock_is_ahead_does_nothing_twice_or_early(
    broker, fleet, outside, an_hour_ahead, evidence
):
    """Redis gives back what is unacknowledged for an hour, by the clock of whoever looks."""
    if not isinstance(broker, Redis):
        pytest.skip("RabbitMQ redelivers by its own clock")
    if connection.vendor == "sqlite":
        pytest.skip("SQLite's clock is that of each process")
    fleet.start(PATIENCE="60")
    words = promise(effects.wait)
    eventually(outside.calls, within=20)
    early = promise(effects.note)
    Delivery.objects.filter(effect=effects.note.name).update(
        due_at=dispatch.DbNow() + HALF_AN_HOUR, look_at=dispatch.DbNow() + HALF_AN_HOUR
    )
    words |= promise(effects.note, 3)
    with redis.Redis(port=broker.port) as fetched:
        eventually(lambda: fetched.hlen("unacked") > 0)

        fleet.start(PATIENCE="60", **an_hour_ahead)

        eventually(lambda: fetched.hlen("unacked") == 0, within=30)  # it took them all over
    eventually(lambda: outside.judge(words).lost == 0, within=30)
    go_file(outside).touch()
    eventually(lambda: not Delivery.objects.running().exists(), within=20)
    verdict = outside.judge(words)  # one that was early would be a phantom
    assert (verdict.extra_runs, verdict.other_keys) == (0, 0)
    assert outside.judge(early).lost == 1
    evidence.add(strikes=3, lost=verdict.lost, phantom=verdict.phantom)
