"""A queue that is deleted, refused, or has nobody who consumes it; the others must not suffer."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import kombu
import pytest
from celery import Celery
from django.core.management import call_command

from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.relay import relay
from reliable_effects.outbox.states import State
from tests.faults.evidence import IS_FULL
from tests.waiting import eventually

from . import effects
from .conftest import all_done, drain, imported, let_pass, promise

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database]

LONELY = "lonely"
MINUTE = timedelta(minutes=1)


def length(broker, queue: str) -> int:
    """How many messages wait in it; 0 where there is no such queue."""
    with kombu.Connection(broker.url) as connection:
        try:
            return connection.default_channel.queue_declare(queue, passive=True).message_count
        except connection.channel_errors:
            return 0


def delete(broker, queue: str) -> None:
    with kombu.Connection(broker.url) as connection:
        connection.default_channel.queue_delete(queue)


def needs_a_person() -> str:
    """What `effects_status --check` says when it ends with 1."""
    said = StringIO()
    with pytest.raises(SystemExit):
        call_command("effects_status", "--check", stdout=said)
    return said.getvalue()


@pytest.fixture
def lonely(broker, web):
    """This process promises `note` and `index` in a queue of that name, which nobody consumes."""
    second = timedelta(seconds=1)
    web(broker.url, QUEUE=LONELY, RELAY_GRACE=second, PUBLISH_REST=second)
    yield
    delete(broker, LONELY)


@pytest.mark.fault("a queue is deleted while a worker consumes it", rows="B3")
@pytest.mark.usefixtures("impatient_web")
def test_a_queue_that_is_deleted_loses_nothing(worker, broker, outside, evidence):
    """Somebody tidies up; the worker declares it again, and whoever published to it goes on."""
    words = promise(effects.note, 10)
    for _ in range(3):
        delete(broker, "effects")
        words |= promise(effects.note, 10)

    all_done(outside, words, within=60)
    verdict = outside.judge(words)
    assert worker.poll() is None
    assert verdict.extra_runs == 0
    evidence.add(strikes=3, lost=verdict.lost, phantom=verdict.phantom)


@pytest.mark.fault("a queue exists with other arguments, so that hints are refused")
@pytest.mark.usefixtures("worker", "lonely")
def test_a_refused_queue_stops_no_other(rabbitmq_server, broker, outside, evidence):
    """One declared wrongly is one queue's trouble; and `effects_worker` needs no queue."""
    if broker is not rabbitmq_server:
        pytest.skip("Redis knows no arguments of queues")
    with kombu.Connection(broker.url) as connection:
        connection.default_channel.queue_declare(LONELY, arguments={"x-max-length": 5})
    refused = promise(effects.note, 10)

    paid = promise(effects.pay, 10)

    eventually(lambda: outside.judge(paid).lost == 0, within=30)
    drain()
    verdict = outside.judge(refused | paid)
    assert verdict.extra_runs == 0
    evidence.add(lost=verdict.lost, phantom=verdict.phantom)


@pytest.mark.full
@pytest.mark.fault("nobody consumes a queue for a day, or it was never there")
@pytest.mark.timeout(600 if IS_FULL else 120)
@pytest.mark.usefixtures("worker", "lonely")
def test_a_queue_that_nobody_consumes_for_a_day_is_an_alarm(broker, fleet, outside, evidence):
    """It fills no broker, delays no other queue, and is done once when somebody comes."""
    words = imported(3000 if IS_FULL else 500)
    ticks = [timedelta(seconds=2)] * 30 + [MINUTE if IS_FULL else 15 * MINUTE] * (
        24 * 60 if IS_FULL else 24 * 4
    )

    for tick in ticks:
        let_pass(tick, LONELY)
        relay("default")
    paid = promise(effects.pay, 20)

    eventually(lambda: outside.judge(paid).lost == 0, within=30)
    assert length(broker, LONELY) < 4000
    assert "nobody consumes the queue lonely" in needs_a_person()
    fleet.start(queues=LONELY)
    all_done(outside, words | paid, within=300 if IS_FULL else 60)
    verdict = outside.judge(words | paid)
    assert verdict.extra_runs == 0
    evidence.add(lost=verdict.lost, phantom=verdict.phantom)


@pytest.mark.full
@pytest.mark.fault("a worker is connected and does not consume", rows="B11")
@pytest.mark.usefixtures("lonely")
def test_a_worker_that_does_not_consume_is_an_alarm(broker, fleet, outside, evidence):
    """It answers pings, and monitors call it well; the way around it needs no broker."""
    fleet.start(queues=LONELY)
    control = Celery("ops", broker=broker.url, set_as_current=False).control
    assert control.cancel_consumer(LONELY, reply=True, timeout=10, limit=1)
    words = promise(effects.note, 10)
    let_pass(2 * MINUTE)

    relay("default")

    assert control.ping(timeout=10, limit=1)
    assert "nobody consumes the queue lonely" in needs_a_person()
    assert Delivery.objects.filter(state=State.PENDING).count() == 10
    drain()
    verdict = outside.judge(words)
    assert verdict.extra_runs == 0
    evidence.add(lost=verdict.lost, phantom=verdict.phantom)
