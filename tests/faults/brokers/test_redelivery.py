"""Hints that come twice, late or for nothing: whoever loses the claim does nothing."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from celery import Celery
from django.db import connection
from django.test.utils import CaptureQueriesContext

from reliable_effects.outbox import dispatch
from reliable_effects.outbox.celery_transport import CelerySender
from reliable_effects.outbox.deliver import on_hint
from reliable_effects.outbox.models import Delivery
from tests.faults.evidence import IS_FULL
from tests.services import Redis
from tests.waiting import eventually

from . import effects
from .conftest import all_done, go_file, imported, promise

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.one_database,
    pytest.mark.full,  # each starts workers of its own
]

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


@pytest.fixture
def send(broker):
    """`send(ids)`: one hint to the broker, whatever the rows say."""
    sender = CelerySender(Celery("again", broker=broker.url, set_as_current=False))
    yield lambda ids: sender("effects", dispatch.hint("default", ids))
    sender.close()


@pytest.mark.fault("each hint comes three times, to three workers at once", rows="B7")
def test_a_hint_that_comes_three_times_is_done_once(
    *, worker, fleet, broker, web, outside, send, evidence
):
    """Brokers repeat messages, and the relay hints what a slow one still has."""
    web(broker.url)
    if IS_FULL:
        for _ in range(2):
            fleet.start()
    dispatch.silence()
    words = promise(effects.note, 60)
    for pk in Delivery.objects.values_list("pk", flat=True):
        for _ in range(3):
            send([pk])

    all_done(outside, words)
    verdict = outside.judge(words)
    assert worker.poll() is None
    assert (verdict.extra_runs, verdict.other_keys) == (0, 0)
    evidence.add(strikes=60, lost=verdict.lost, phantom=verdict.phantom)


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
    evidence.add(lost=verdict.lost, phantom=verdict.phantom, extra_runs=verdict.extra_runs)


@pytest.mark.fault(
    "a worker whose clock is an hour ahead has others' hints redelivered", rows="B12 T4"
)
@pytest.mark.usefixtures("impatient_web")
def test_a_worker_whose_clock_is_ahead_does_nothing_twice_or_early(
    broker, fleet, outside, evidence
):
    """Redis gives back what is unacknowledged for an hour, by the clock of whoever looks."""
    if not isinstance(broker, Redis):
        pytest.skip("RabbitMQ redelivers by its own clock")
    if connection.vendor == "sqlite":
        pytest.skip("SQLite's clock is that of each process")
    if not FAKETIME.exists():
        pytest.skip("service: libfaketime was not found. `make services` installs it.")
    fleet.start(PATIENCE="60")
    words = promise(effects.wait)
    eventually(outside.calls, within=20)
    early = promise(effects.note)
    Delivery.objects.filter(effect=effects.note.name).update(
        due_at=dispatch.DbNow() + timedelta(minutes=30),
        look_at=dispatch.DbNow() + timedelta(minutes=30),
    )
    words |= promise(effects.note, 3)
    fetched = redis.Redis(port=broker.port)
    eventually(lambda: fetched.hlen("unacked") > 0)

    fleet.start(LD_PRELOAD=str(FAKETIME), FAKETIME="+1h")
    eventually(lambda: fetched.hlen("unacked") == 0, within=30)  # it took them all over
    eventually(lambda: outside.judge(words).lost == 0, within=30)
    go_file(outside).touch()

    eventually(lambda: not Delivery.objects.running().exists(), within=20)
    fetched.close()
    verdict = outside.judge(words, in_doubt=early)
    assert outside.judge(early).lost == 1
    assert (verdict.extra_runs, verdict.other_keys) == (0, 0)
    evidence.add(strikes=3, lost=verdict.lost, phantom=verdict.phantom)


@pytest.mark.fault("the queue is full of hints for what was done long ago", rows="B9")
@pytest.mark.timeout(600 if IS_FULL else 120)
@pytest.mark.usefixtures("worker", "impatient_web")
def test_stale_hints_cost_one_cheap_query_each(outside, send, evidence):
    """A broker that comes back with yesterday's messages must not stop today's work for long."""
    number = 100_000 if IS_FULL else 2000
    words = imported(100)
    all_done(outside, words)
    ids = list(Delivery.objects.values_list("pk", flat=True))
    with CaptureQueriesContext(connection) as queries:
        on_hint(dispatch.hint("default", ids[:50]))

    for count in range(number):
        send(ids[:50] if count % 10 == 0 else ids[count % 100 :][:1])
    words |= promise(effects.note, 5)

    all_done(outside, words, within=500 if IS_FULL else 60)
    verdict = outside.judge(words)
    assert len(queries) == 1
    assert verdict.extra_runs == 0
    evidence.add(strikes=number, lost=verdict.lost, phantom=verdict.phantom)
