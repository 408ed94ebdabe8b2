"""An effect that emits may be run again: what it emitted before, it emits again, once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction

from reliable_effects import Event, Snooze
from reliable_effects.clock import moved
from reliable_effects.exceptions import EmittedTwice, LeaseLost
from reliable_effects.outbox import remedy
from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent
from reliable_effects.outbox.states import State
from tests.outbox.conftest import carry_out, pending_delivery
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)


class Boom(Exception):
    """The worker's luck runs out after its effect has emitted."""


@pytest.fixture
def child(make_effect) -> Event[Any, Any]:
    """An event that the effects here emit; one effect of its own listens."""
    event: Event[Any, Any] = Event("test.child", subject="shop.Order")
    make_effect(name="test.listens", on=event)
    return event


def children() -> set[UUID]:
    return set(OutboxEvent.objects.filter(name="test.child").values_list("pk", flat=True))


def emit(event: Event[Any, Any], order: Order, **options: Any) -> Any:
    with transaction.atomic():
        return event.emit(order, **options)


@pytest.mark.parametrize("atomic", [False, True])
def test_a_repeated_run_repeats_no_event(make_effect, child, atomic):
    """A worker that dies after its emit does it again, and the customer gets one letter."""
    runs = []

    def emits_and_dies_once(order, ctx):
        runs.append(emit(child, order, payload={"attempt": ctx.attempt}))
        if ctx.attempt == 1:
            raise Boom

    delivery = pending_delivery(make_effect(emits_and_dies_once, atomic=atomic))

    carry_out(delivery)
    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert children() == {runs[0].event_id} == {runs[1].event_id}
    assert Delivery.objects.filter(effect="test.listens").count() == 1
    assert runs[1].already_promised == (() if atomic else ("test.listens",))


def test_a_repeated_run_emits_the_same_under_a_new_name(make_effect, child):
    """The release that takes the second run has renamed the event."""

    def emits_and_dies_once(order, ctx):
        emit(child, order)
        if ctx.attempt == 1:
            raise Boom

    delivery = pending_delivery(make_effect(emits_and_dies_once))
    carry_out(delivery)

    child.name = "test.renamed"  # as the next release declares it, with aliases=["test.child"]
    carry_out(delivery)

    assert len(children()) == OutboxEvent.objects.exclude(pk=delivery.event_id).count() == 1


def test_a_snoozed_run_emits_anew(make_effect, child):
    """Each "not yet" of a poll is a fact of its own: a snooze is no failure."""

    def asks_three_times(order, _ctx):
        emit(child, order)
        if len(children()) < 3:
            raise Snooze(timedelta(minutes=1))

    delivery = pending_delivery(make_effect(asks_three_times))

    for minutes in (0, 2, 4):
        with moved(timedelta(minutes=minutes)):
            carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert len(children()) == 3


def test_a_redriven_run_emits_anew(make_effect, child):
    """A person who redrives what has ended means it again."""

    def emits_and_fails(order, _ctx):
        emit(child, order)
        raise Boom

    delivery = pending_delivery(make_effect(emits_and_fails, max_attempts=1))
    carry_out(delivery)
    remedy.redrive(remedy.of("default", [delivery.pk]), by="anna", why="mended")

    carry_out(delivery)

    assert len(children()) == 2


def test_the_same_event_twice_in_one_run_is_refused(make_effect, child):
    """Both would have one identity, so the second would be lost without a word."""

    def emits_twice(order, _ctx):
        emit(child, order, payload={"n": 1})
        emit(child, order, payload={"n": 2})

    delivery = pending_delivery(make_effect(emits_twice))

    carry_out(delivery)

    attempt = Attempt.objects.get()
    assert attempt.exception_type.endswith("EmittedTwice")
    assert "'test.child'" in attempt.message
    assert "once='first'" in attempt.message
    assert len(children()) == 1


def test_the_same_event_twice_in_one_call_is_refused(make_effect, child):
    """`emit_many` with one order twice is the same slip."""
    raised = []

    def emits_twice(order, _ctx):
        with transaction.atomic(), pytest.raises(EmittedTwice) as error:
            child.emit_many([(order, {"n": 1}), (order, {"n": 2})])
        raised.append(error.value)

    carry_out(pending_delivery(make_effect(emits_twice)))

    assert len(raised) == 1
    assert children() == set()


def test_once_tells_two_emissions_of_one_run_apart(make_effect, child):
    """And other subjects are other events anyway."""

    def emits_thrice(order, _ctx):
        emit(child, order, once="first")
        emit(child, order, once="second")
        emit(child, Order.objects.create())

    carry_out(pending_delivery(make_effect(emits_thrice)))

    assert len(children()) == 3


def test_what_was_rolled_back_may_be_emitted_again(make_effect, child):
    """An effect that gives up half of its work and does it otherwise has emitted nothing twice."""

    def tries_two_ways(order, _ctx):
        with transaction.atomic():
            with pytest.raises(Boom):
                emit_and_fail(order)
            child.emit(order, {"way": "second"})

    @transaction.atomic
    def emit_and_fail(order):
        child.emit(order, {"way": "first"})
        raise Boom

    delivery = pending_delivery(make_effect(tries_two_ways))
    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert OutboxEvent.objects.get(name="test.child").payload == {"way": "second"}


def test_a_promise_inside_an_effect_is_repeat_safe_too(make_effect):
    """`other.promise(order)` writes an event as well."""
    other = make_effect(name="test.other")

    def promises_and_dies_once(order, ctx):
        with transaction.atomic():
            other.promise(order)
        if ctx.attempt == 1:
            raise Boom

    delivery = pending_delivery(make_effect(promises_and_dies_once))
    carry_out(delivery)
    carry_out(delivery)

    assert Delivery.objects.filter(effect="test.other").count() == 1


def test_an_event_and_a_promise_of_one_name_are_two(make_effect):
    """Names of events and of effects need not differ."""
    event: Event[Any, Any] = Event("test.same", subject="shop.Order")
    same = make_effect(name="test.same")

    def says_both(order, _ctx):
        emit(event, order)
        with transaction.atomic():
            same.promise(order)

    delivery = pending_delivery(make_effect(says_both))
    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert OutboxEvent.objects.filter(name="test.same").count() == 2


def test_a_zombie_emits_nothing(make_effect, child):
    """Its lease is over and somebody else runs the delivery: what it says now would be a phantom."""
    refused = []

    def loses_its_lease(order, ctx):
        Delivery.objects.filter(pk=ctx.delivery_id).update(claim_token=1)
        with pytest.raises(LeaseLost) as error:
            emit(child, order)
        refused.append(error.value.delivery_id)

    delivery = pending_delivery(make_effect(loses_its_lease))
    carry_out(delivery)

    assert refused == [delivery.pk]
    assert children() == set()
    assert not Delivery.objects.filter(effect="test.listens").exists()


def test_outside_of_effects_nothing_is_a_child(make_effect, child):
    """The next request of this thread is nobody's child."""
    delivery = pending_delivery(make_effect(lambda order, _: emit(child, order) and None))
    carry_out(delivery)

    emit(child, Order.objects.get())
    emit(child, Order.objects.get())

    assert len(children()) == 3
