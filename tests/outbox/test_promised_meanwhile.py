"""A debt that is promised again while a worker has it in hand: neither may the other wait or lose."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction

from reliable_effects import ONCE
from reliable_effects.outbox.claim import claim, look
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.run import run
from reliable_effects.outbox.settle import settle
from reliable_effects.outbox.states import Reason, State
from reliable_effects.outbox.succeed import succeed
from reliable_effects.outbox.verdicts import Skipped
from tests.outbox.conftest import carry_out
from tests.shop.models import Order
from tests.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def collect(make_effect):
    """An effect that placed orders owe; cancelled ones do not."""
    effect = make_effect(name="test.collect")

    @effect.owed(since="placed_at", grace=timedelta(0), debt=ONCE)
    def uncollected():
        return Order.objects.filter(status="placed")

    return effect


@pytest.fixture
def cancelled_order(collect) -> Order:
    with transaction.atomic():
        order = Order.objects.create(status="cancelled")
        collect.promise(order)
    return order


def hold():
    """What a worker has claimed, and not yet settled."""
    [claimed] = claim(look("default", Delivery.objects.values_list("pk", flat=True)))
    return claimed


def reinstate(order: Order, collect) -> None:
    with transaction.atomic():
        Order.objects.filter(pk=order.pk).update(status="placed")
        collect.promise(order)


@pytest.mark.fault("a debt is promised again while a worker skips it", rows="W14")
def test_a_debt_promised_while_it_is_being_skipped_is_not_skipped(collect, cancelled_order):
    """The worker had asked before the commit that made it owed."""
    held = hold()
    verdict = run(held)
    assert verdict == Skipped(Reason.NOT_NEEDED)

    reinstate(cancelled_order, collect)
    settle(held, verdict)

    delivery = Delivery.objects.get()
    assert delivery.state == State.PENDING
    assert delivery.attempts == 0
    carry_out(delivery)
    assert delivery.state == State.SUCCEEDED


@pytest.mark.usefixtures("cancelled_order")
def test_a_debt_that_nobody_promised_again_is_skipped():
    """Asked twice, answered twice the same."""
    held = hold()

    settle(held, run(held))

    assert Delivery.objects.get().state == State.SKIPPED


@pytest.mark.usefixtures("cancelled_order")
def test_an_owed_query_that_fails_at_the_second_asking_is_a_failed_attempt(collect, monkeypatch):
    """It is the project's code, and must not end the worker's."""
    held = hold()
    verdict = run(held)

    def broken():
        raise ZeroDivisionError

    monkeypatch.setattr(collect, "owed_query", None)
    collect.owed(since="placed_at", grace=timedelta(0), debt=ONCE)(broken)
    settle(held, verdict)

    delivery = Delivery.objects.get()
    assert delivery.state == State.PENDING
    assert delivery.attempt_rows.get().exception_type.endswith("ZeroDivisionError")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="elsewhere the promise locks the row")
def test_a_promise_that_stays_open_does_not_keep_a_worker_from_completing(collect):
    """A request may take its time; the lease would not."""
    with transaction.atomic():
        order = Order.objects.create()
        collect.promise(order)
    held = hold()
    promised, completed = threading.Event(), threading.Event()

    def request() -> None:
        try:
            with transaction.atomic():
                collect.promise(order)
                promised.set()
                completed.wait(20)
        finally:
            connections.close_all()

    thread = threading.Thread(target=request)
    thread.start()
    eventually(promised.is_set)
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'")

    won = succeed(held)

    completed.set()
    thread.join(20)
    assert won


@pytest.mark.fault(
    "a debt is promised again, and not yet committed, while a worker skips it", rows="W14"
)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="needs two writers")
def test_a_skip_waits_for_a_promise_that_is_about_to_commit(collect, cancelled_order):
    """What is not committed cannot be seen, so the lock is what tells that it is coming."""
    held = hold()
    verdict = run(held)
    promised = threading.Event()
    skipping = threading.Event()

    def request() -> None:
        try:
            with transaction.atomic():
                Order.objects.filter(pk=cancelled_order.pk).update(status="placed")
                collect.promise(cancelled_order)
                promised.set()
                skipping.wait(20)
                eventually(somebody_waits_for_a_lock)
        finally:
            connections.close_all()

    thread = threading.Thread(target=request)
    thread.start()
    eventually(promised.is_set)
    skipping.set()

    settle(held, verdict)

    thread.join(20)
    assert Delivery.objects.get().state == State.PENDING


def somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return cursor.fetchone()[0] > 0
