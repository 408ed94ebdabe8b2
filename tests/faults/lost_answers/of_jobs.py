"""Scheduled jobs: a client schedules or cancels one, a tick emits them."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

from django.db import transaction

from reliable_effects import Event
from reliable_effects.clock import DbNow, read_clock
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.sweeps import sweep
from reliable_effects.schedule.models import ScheduledJob
from reliable_effects.schedule.states import JobState
from reliable_effects.schedule.tick import TICK
from tests.faults.lost_answers.scenario import Ending, MakeEffect, Scenario
from tests.shop.models import Order

_pks = itertools.count(2 * 10**6)
_FAR = timedelta(days=300)


class _OfJobs(Scenario):
    """An event that is scheduled, and one effect of it."""

    def declare(self, make_effect: MakeEffect) -> None:
        self.event: Event[Any, Any] = Event("test.time_has_come", subject="shop.Order")
        self.effect = make_effect(self.acts, on=self.event)

    def prepare(self) -> list[Delivery]:
        return []

    def settle(self) -> None:
        sweep("default", TICK, now=True)

    def schedule(self, count: int) -> list[Order]:
        orders = [Order.objects.create() for _ in range(count)]
        at = read_clock("default") + _FAR
        with transaction.atomic():
            self.event.schedule_many([(order, None, at, f"{order.pk}") for order in orders])
        return orders


class Scheduling(_OfJobs):
    """A request places an order and schedules; after an error both rows share one fate."""

    def prepare(self) -> list[Delivery]:
        self.pk = next(_pks)  # known to the client, whatever it is told
        self.now = read_clock("default")
        return []

    def act(self) -> None:
        with transaction.atomic():
            order = Order.objects.create(pk=self.pk)
            self.event.schedule(order, at=self.now, key="a")

    def expects(self) -> dict[str, Ending]:
        is_placed = Order.objects.filter(pk=self.pk).exists()
        assert is_placed or self.error is not None
        return {f"order {self.pk}": Ending()} if is_placed else {}

    def judge_more(self) -> None:
        for model in (ScheduledJob, OutboxEvent, Delivery):
            assert model._base_manager.count() == len(self.expects())


class Ticking(_OfJobs):
    """The next tick finds each job due, or its event there."""

    def prepare(self) -> list[Delivery]:
        self.orders = self.schedule(3)
        ScheduledJob.objects.update(at=DbNow())
        return []

    def act(self) -> None:
        sweep("default", TICK, now=True)

    def expects(self) -> dict[str, Ending]:
        return {f"order {order.pk}": Ending() for order in self.orders}

    def judge_more(self) -> None:
        assert set(ScheduledJob.objects.values_list("state", flat=True)) == {JobState.DONE}
        assert OutboxEvent.objects.count() == Delivery.objects.count() == len(self.orders)


class CancellingAJob(_OfJobs):
    """Who is told of an error asks again, and is told that it is cancelled."""

    def prepare(self) -> list[Delivery]:
        [self.order] = self.schedule(1)
        return []

    def act(self) -> None:
        with transaction.atomic():
            self.event.cancel(key=f"{self.order.pk}")

    def settle(self) -> None:
        with transaction.atomic():
            assert self.event.cancel(key=f"{self.order.pk}").state == "cancelled"

    def expects(self) -> dict[str, Ending]:
        return {}

    def judge_more(self) -> None:
        assert ScheduledJob.objects.get().state == JobState.CANCELLED
        assert not OutboxEvent.objects.exists()
