"""A client sends a request under an idempotency key, and sends it again until it is answered."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from reliable_effects import Event
from reliable_effects.clock import moved
from reliable_effects.idempotency import idempotent
from reliable_effects.models import IdempotencyRecord, RecordState
from reliable_effects.outbox.models import Delivery, OutboxEvent
from tests.faults.lost_answers.scenario import Ending, MakeEffect, Scenario
from tests.shop.models import Order

_LEASE_ENDS = timedelta(minutes=2)
_TRIES = 3


class AskingUnderAKey(Scenario):
    """Order, event and answer share one fate; in doubt the record is asked, and the client again."""

    def declare(self, make_effect: MakeEffect) -> None:
        event: Event[Any, Any] = Event("test.asked", subject="shop.Order")
        self.effect = make_effect(self.acts, on=event)

        @idempotent(scope=lambda _: "the client")
        def place(_request: HttpRequest) -> HttpResponse:
            order = Order.objects.create()
            event.emit(order)
            return HttpResponse(f"order {order.pk}", status=201)

        self.view = place

    def prepare(self) -> list[Delivery]:
        Order.objects.all().delete()
        IdempotencyRecord.objects.all().delete()
        self.answers: list[HttpResponse] = []
        return []

    def act(self) -> None:
        request = RequestFactory().post("/place/", headers={"Idempotency-Key": "k"})
        self.answers.append(self.view(request))

    def settle(self) -> None:
        with moved(_LEASE_ENDS):
            for _ in range(_TRIES):
                self.act()
        last = self.answers[-1]
        assert last.status_code == 201, last.content
        assert last["Idempotent-Replayed"] == "true"

    def expects(self) -> dict[str, Ending]:
        return {f"order {Order.objects.get().pk}": Ending()}

    def judge_more(self) -> None:
        told = {answer.content for answer in self.answers if answer.status_code == 201}
        assert told == {f"order {Order.objects.get().pk}".encode()}
        assert OutboxEvent.objects.count() == Delivery.objects.count() == 1
        assert IdempotencyRecord.objects.get().state == RecordState.DONE
