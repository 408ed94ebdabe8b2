"""
A broker that forgets, dies, hangs or is full, under a worker that consumes and a web that emits.

The worker is one for all of these tests, and has to outlive them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connections

from reliable_effects.outbox import dispatch
from tests.faults.evidence import IS_FULL
from tests.services import Redis
from tests.waiting import eventually

from . import effects
from .conftest import all_done, imported, let_pass, promise

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database]


@contextmanager
def requests_going_on() -> Iterator[set[str]]:
    """A web process under load; what it has committed when the block is over."""
    words: set[str] = set()
    is_over = threading.Event()

    def serve() -> None:
        try:
            while not is_over.wait(0.02):
                words.update(promise(effects.note))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=serve) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield words
    finally:
        is_over.set()
        for thread in threads:
            thread.join(30)


@pytest.mark.fault("the broker is wiped with many hints in it", rows="B3")
@pytest.mark.timeout(480 if IS_FULL else 120)
@pytest.mark.usefixtures("impatient_web")
def test_a_broker_that_forgets_loses_nothing(worker, broker, outside, evidence):
    """It fails over to an empty twin, or is restarted without its disk."""
    words = set()
    wipes = 3 if IS_FULL else 1
    for _ in range(wipes):
        words |= imported(3400 if IS_FULL else 200)
        broker.wipe()

    all_done(outside, words, within=400 if IS_FULL else 60)
    verdict = outside.judge(words)
    assert worker.poll() is None
    assert verdict.extra_runs == 0
    evidence.add(strikes=wipes, lost=verdict.lost, phantom=verdict.phantom)


@pytest.mark.full  # a client that lost its broker rests for up to half a minute
@pytest.mark.fault(
    "the broker is killed under load, stays away for hours and comes back", rows="B4 C6"
)
@pytest.mark.timeout(480 if IS_FULL else 120)
def test_a_broker_that_is_killed_under_load_loses_nothing(worker, broker, web, outside, evidence):
    """Meanwhile orders are placed as ever; afterwards hints flow again, with nobody's help."""
    # A relay that waits so long finds nothing: what is done soon, a hint has told of.
    web(broker.url, RELAY_GRACE=timedelta(minutes=10), PUBLISH_REST=timedelta(seconds=1))
    kills = 8 if IS_FULL else (3 if isinstance(broker, Redis) else 1)
    with requests_going_on() as words:
        for _ in range(kills):
            had = len(words)
            broker.kill()
            eventually(lambda: len(words) > had + 10)  # noqa: B023  # called here and now
            let_pass(timedelta(hours=5))
            broker.start()
            eventually(lambda: not dispatch._publisher().is_open, within=30)
    let_pass(timedelta(hours=5))
    all_done(outside, words, within=60)

    words |= promise(effects.note, 5)

    all_done(outside, words, within=30)
    verdict = outside.judge(words)
    assert worker.poll() is None
    assert verdict.extra_runs == 0
    evidence.add(strikes=kills, lost=verdict.lost, phantom=verdict.phantom)


@pytest.mark.fault("the broker hangs under load", rows="B2")
@pytest.mark.usefixtures("impatient_web")
def test_a_broker_that_hangs_under_load_loses_nothing(worker, broker, outside, evidence):
    """Every connection is open, and nothing answers: a stopped machine, a full network."""
    times = 2 if IS_FULL else 1
    with requests_going_on() as words:
        for _ in range(times):
            broker.freeze()
            had = len(words)
            eventually(lambda: len(words) > had + 20, within=20)  # noqa: B023  # here and now
            broker.thaw()
            eventually(lambda: not dispatch._publisher().is_open, within=20)

    all_done(outside, words, within=60)
    verdict = outside.judge(words)
    assert worker.poll() is None
    assert verdict.extra_runs == 0
    evidence.add(strikes=times, lost=verdict.lost, phantom=verdict.phantom)


@pytest.mark.fault("the broker is out of memory: publishers are blocked or refused", rows="B6")
@pytest.mark.usefixtures("impatient_web")
def test_a_broker_out_of_memory_loses_nothing(worker, broker, outside, evidence):
    """RabbitMQ reads no more from who publishes; Redis refuses every write."""
    with requests_going_on() as words:
        broker.fill()
        had = len(words)
        eventually(lambda: len(words) > had + 20, within=20)
        broker.relieve()

    all_done(outside, words, within=60)
    verdict = outside.judge(words)
    assert worker.poll() is None
    assert verdict.extra_runs == 0
    evidence.add(lost=verdict.lost, phantom=verdict.phantom)
