"""Hints that come twice, late or for nothing: whoever loses the claim does nothing."""

from __future__ import annotations

import random

import pytest
from celery import Celery
from django.db import connection
from django.test.utils import CaptureQueriesContext

from reliable_effects.outbox import dispatch
from reliable_effects.outbox.celery_transport import CelerySender
from reliable_effects.outbox.deliver import on_hint
from reliable_effects.outbox.models import Delivery
from tests.faults.evidence import IS_FULL

from . import effects
from .conftest import all_done, imported, promise

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database]


@pytest.fixture(scope="module", params=["redis", pytest.param("rabbitmq", marks=pytest.mark.full)])
def broker(request):
    """What comes again is ours to bear, whoever brings it: by default one of them does."""
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
def send(broker):
    """`send(ids)`: one hint to the broker, whatever the rows say."""
    sender = CelerySender(Celery("again", broker=broker.url, set_as_current=False))
    yield lambda ids: sender("effects", dispatch.hint("default", ids))
    sender.close()


@pytest.mark.fault("each hint comes three times, to several workers at once", rows="B7")
def test_a_hint_that_comes_three_times_is_done_once(
    *, worker, fleet, broker, web, outside, send, evidence
):
    """Brokers repeat messages, and the relay hints what a slow one still has."""
    for _ in range(2 if IS_FULL else 1):
        fleet.start()
    web(broker.url, TRANSPORT="none")  # what comes is what is sent here
    words = promise(effects.note, 60)
    pks = list(Delivery.objects.values_list("pk", flat=True))
    for pk in pks[:30]:
        for _ in range(3):
            send([pk])
    for _ in range(3):  # and in one hint with others, in any order
        for first in range(30, 60, 5):
            send(random.sample(pks[first : first + 5], 5))

    all_done(outside, words)
    verdict = outside.judge(words)
    assert worker.poll() is None
    assert (verdict.extra_runs, verdict.other_keys) == (0, 0)
    evidence.add(strikes=60, lost=verdict.lost, phantom=verdict.phantom)


@pytest.mark.full
@pytest.mark.fault("the queue is full of hints for what was done long ago", rows="B9")
@pytest.mark.timeout(480 if IS_FULL else 120)
@pytest.mark.usefixtures("worker", "impatient_web")
def test_stale_hints_cost_one_cheap_query_each(outside, send, evidence):
    """A broker that comes back with yesterday's messages must not stop today's work for long."""
    number = 20_000 if IS_FULL else 2000
    words = imported(100)
    all_done(outside, words)
    ids = list(Delivery.objects.values_list("pk", flat=True))
    with CaptureQueriesContext(connection) as queries:
        on_hint(dispatch.hint("default", ids[:50]))

    for count in range(number):
        send(ids[:50] if count % 10 == 0 else ids[count % 100 :][:1])
    words |= promise(effects.note, 5)

    all_done(outside, words, within=400 if IS_FULL else 60)
    verdict = outside.judge(words)
    assert len(queries) == 1
    assert verdict.extra_runs == 0
    evidence.add(strikes=number, lost=verdict.lost, phantom=verdict.phantom)
