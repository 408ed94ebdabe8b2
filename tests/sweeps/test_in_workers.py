"""Stock Celery workers, a real broker, no beat: what was promised is done without a further word."""

from __future__ import annotations

import os

import pytest
from celery import Celery
from django.db import transaction
from django.db.models import Count

from reliable_effects.clock import DbNow
from reliable_effects.outbox import dispatch
from reliable_effects.outbox.celery_transport import CelerySender
from reliable_effects.outbox.models import Delivery, Sweep
from reliable_effects.outbox.states import State
from tests.outbox.conftest import expired_delivery
from tests.shop.effects import thank, wrap
from tests.shop.events import order_charged
from tests.shop.models import LedgerEntry, Order
from tests.sweeps import transport
from tests.sweeps.conftest import SECOND
from tests.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broker_between(_transport, spare_redis):
    """This process sends its hints to the workers' broker."""
    sender = CelerySender(Celery("web", broker=spare_redis.url, set_as_current=False))
    transport.real_broker = sender
    yield spare_redis
    sender.close()


def promised(count: int) -> None:
    with transaction.atomic():
        for order in Order.objects.bulk_create(Order() for _ in range(count)):
            wrap.promise(order)
    dispatch.flush()


def all_are_done() -> bool:
    # Asked often, so by the small indexes first.
    rows = Delivery.objects
    return not (
        rows.waiting().exists()
        or rows.running().exists()
        or rows.exclude(state=State.SUCCEEDED).exists()
    )


def test_what_was_never_hinted_is_done(start_worker):
    """The web process died between its commit and its hint."""
    promised(60)

    start_worker()

    eventually(all_are_done, within=60)
    assert LedgerEntry.objects.count() == 60


def test_a_broker_that_forgets_loses_nothing(start_worker, broker_between):
    """A broker is wiped, fails over to an empty twin, or is restarted without its disk."""
    promised(30)
    sent_before_the_worker = transport.hinted_ids()
    broker_between.wipe()
    start_worker()
    eventually(all_are_done, within=60)
    for _ in range(3):
        promised(60)
        broker_between.wipe()

    eventually(all_are_done, within=60)
    assert len(sent_before_the_worker) == 30
    assert LedgerEntry.objects.count() == 210


def test_workers_rescue_what_a_dead_one_held(start_worker):
    """Nobody else has to be told that it is dead."""
    row = expired_delivery("shop.wrap")

    start_worker()

    eventually(all_are_done, within=60)
    row.refresh_from_db()
    assert row.attempts == 2
    assert set(Sweep.objects.values_list("name", flat=True)) >= {"relay", "rescue", "prune"}


@pytest.mark.fault("a backlog of ten thousand after a night without a broker", rows="W16")
@pytest.mark.skipif(os.environ.get("TEST_DATABASE") != "postgres", reason="two writers at speed")
@pytest.mark.timeout(480)
def test_a_backlog_of_ten_thousand_is_done_once_each(start_worker):
    """After a night without a broker there is a backlog: it drains, bounded, and nothing is twice."""
    for _ in range(10):
        with transaction.atomic():
            orders = Order.objects.bulk_create(Order() for _ in range(1000))
            order_charged.emit_many((order, None) for order in orders)
    assert Delivery.objects.filter(hints=0, look_at__lte=DbNow()).count() == 10_000

    for _ in range(2):
        start_worker(relay_grace=10 * SECOND)  # impatience would only make the line longer

    eventually(all_are_done, within=400)
    by_attempts = Delivery.objects.values_list("effect", "state", "attempts").annotate(Count("pk"))
    assert list(by_attempts) == [(thank.name, State.SUCCEEDED, 1, 10_000)]
    assert LedgerEntry.objects.count() == 10_000
    assert LedgerEntry.objects.values("key").distinct().count() == 10_000
    assert Delivery.objects.values("worker").distinct().count() == 2
