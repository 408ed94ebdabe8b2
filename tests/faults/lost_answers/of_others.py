"""What requests, sweeps and people do: promises, effects that promise, remedies, and the clock's work."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

from django.db import transaction

from reliable_effects import ONCE, Event
from reliable_effects.clock import DbNow
from reliable_effects.conf import settings
from reliable_effects.outbox import remedy
from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent
from reliable_effects.outbox.states import Notes, State
from reliable_effects.outbox.sweeps import PRUNE, RELAY, RESCUE, sweep
from tests.faults.lost_answers.scenario import Ending, MakeEffect, Scenario
from tests.outbox.conftest import (
    expired_delivery,
    pending_delivery,
    poisoned_delivery,
    succeeded_delivery,
)
from tests.shop.models import Order

_pks = itertools.count(10**6)


class Emitting(Scenario):
    """A request places an order; after an error it is in doubt, and both rows share one fate."""

    def declare(self, make_effect: MakeEffect) -> None:
        self.event: Event[Any, Any] = Event("test.placed", subject="shop.Order")
        self.effect = make_effect(self.acts, on=self.event)

    def prepare(self) -> list[Delivery]:
        self.pk = next(_pks)  # known to the client, whatever it is told
        return []

    def act(self) -> None:
        with transaction.atomic():
            order = Order.objects.create(pk=self.pk)
            self.event.emit(order)

    def expects(self) -> dict[str, Ending]:
        is_placed = Order.objects.filter(pk=self.pk).exists()
        assert is_placed or self.error is not None
        return {f"order {self.pk}": Ending()} if is_placed else {}

    def judge_more(self) -> None:
        for model in (OutboxEvent, Delivery):
            assert model.objects.count() == len(self.expects())


class EmittingInAnEffect(Scenario):
    """What an effect emitted before it failed, it emits again, once."""

    ending = Ending(more_runs=1, more_attempts=1)  # the error is the effect's own

    def declare(self, make_effect: MakeEffect) -> None:
        self.event: Event[Any, Any] = Event("test.child", subject="shop.Order")

        def emits(order: Order, ctx: Any) -> None:
            self.acts(order, ctx)
            with transaction.atomic():
                self.event.emit(order)

        self.effect = make_effect(emits)
        make_effect(self.acts_too, on=self.event)

    def acts_too(self, order: Order, ctx: Any) -> None:
        self.outside.write(f"child of order {order.pk}", ctx.idempotency_key)

    def expects(self) -> dict[str, Ending]:
        return super().expects() | {f"child of order {self.rows[0].event.subject_pk}": Ending()}


class PromisingAStandingDebt(Scenario):
    """A debt that was skipped is owed again; a client who was told nothing promises it again."""

    def declare(self, make_effect: MakeEffect) -> None:
        self.effect = make_effect(self.acts)
        query = self.effect.owed(since="placed_at", grace=timedelta(0), debt=ONCE)
        query(Order.objects.all)

    def prepare(self) -> list[Delivery]:
        self.order = Order.objects.create()
        self._promise()
        row = Delivery.objects.get()
        Delivery.objects.update(
            state=State.SKIPPED, reason="NOT_NEEDED", look_at=None, finished_at=DbNow()
        )
        return [row]

    def act(self) -> None:
        self._promise()

    def settle(self) -> None:
        if self.error is not None:
            self._promise()

    def _promise(self) -> None:
        with transaction.atomic():
            self.effect.promise(self.order)

    def judge_more(self) -> None:
        assert Delivery.objects.count() == 1
        assert self.rows[0].notes == {Notes.ROUND: 1}  # reopened once


class Rescuing(Scenario):
    """A worker was lost: that counts once, and as that."""

    ending = Ending(attempts=2, kept=1)

    def prepare(self) -> list[Delivery]:
        return [expired_delivery(self.effect) for _ in range(2)]

    def act(self) -> None:
        sweep("default", RESCUE, now=True)

    def judge_more(self) -> None:
        for row in self.rows:
            assert row.notes == {Notes.KILLS: 1}
        assert set(Attempt.objects.values_list("outcome", flat=True)) == {Attempt.Outcome.LOST}


class Relaying(Scenario):
    """A sweep that marks rows and sends hints; the tests' transport takes them."""

    def prepare(self) -> list[Delivery]:
        return [pending_delivery(self.effect) for _ in range(2)]

    def act(self) -> None:
        sweep("default", RELAY, now=True)


class Pruning(Scenario):
    """What is old and ended well goes; whatever was struck, nothing else does."""

    ending = Ending(State.POISONED, runs=0, attempts=8)

    def prepare(self) -> list[Delivery]:
        old = DbNow() - settings().retention - timedelta(days=1)
        for _ in range(2):
            succeeded_delivery(self.effect, finished_at=old, event={"emitted_at": old})
        return [poisoned_delivery(self.effect, finished_at=old, event={"emitted_at": old})]

    def act(self) -> None:
        sweep("default", PRUNE, now=True)

    def settle(self) -> None:
        sweep("default", PRUNE, now=True)

    def judge_more(self) -> None:
        assert OutboxEvent.objects.get() == self.rows[0].event
        assert Delivery.objects.get() == self.rows[0]


class Redriving(Scenario):
    """A person who is told of an error looks, and redrives what still stands there."""

    def prepare(self) -> list[Delivery]:
        return [poisoned_delivery(self.effect) for _ in range(2)]

    def act(self) -> None:
        remedy.redrive(Delivery.objects.all(), by="eva", why="the partner is back")

    def settle(self) -> None:
        remedy.redrive(Delivery.objects.poisoned(), by="eva", why="once more")

    def judge_more(self) -> None:
        for row in self.rows:
            assert row.notes == {Notes.ROUND: 1}


class Cancelling(Scenario):
    ending = Ending(State.CANCELLED, runs=0, attempts=0)

    def prepare(self) -> list[Delivery]:
        return [pending_delivery(self.effect) for _ in range(2)]

    def act(self) -> None:
        remedy.cancel(Delivery.objects.all(), by="eva", why="a mistake")

    def settle(self) -> None:
        remedy.cancel(Delivery.objects.all(), by="eva", why="once more")


class Reopened(PromisingAStandingDebt):
    """Emitted in a transaction that is rolled back: nothing of it stays, struck or not."""

    ending = Ending(State.SKIPPED, runs=0, attempts=0)

    def act(self) -> None:
        with transaction.atomic():
            self.effect.promise(self.order)
            transaction.set_rollback(True)

    def settle(self) -> None:
        pass

    def judge_more(self) -> None:
        assert self.rows[0].notes is None
