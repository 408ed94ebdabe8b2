"""A client sends a request under an idempotency key; the server dies; the client sends it again."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from reliable_effects.clock import moved
from reliable_effects.idempotency import idempotent
from reliable_effects.models import IdempotencyRecord, RecordState
from tests.faults.locks import nobody_holds_a_lock
from tests.shop.models import Order
from tests.waiting import eventually

from .. import effects
from .act import Act
from .emitting import RIVER

_LEASE_ENDS = timedelta(minutes=2)


@idempotent(scope=lambda _: "the client")
def place(_request: HttpRequest) -> HttpResponse:
    order = Order.objects.create()
    effects.placed.emit(order)
    return HttpResponse(f"order {order.pk}", status=201)


def ask() -> HttpResponse:
    return place(RequestFactory().post("/place/", headers={"Idempotency-Key": "k"}))


def ask_again() -> None:
    """Until there is an answer; which is then the one of the only order there is."""
    eventually(nobody_holds_a_lock)
    with moved(_LEASE_ENDS):
        answer = ask()
        again = ask()
    assert answer.status_code == 201, answer.content
    assert answer.content == again.content == f"order {Order.objects.get().pk}".encode()
    assert IdempotencyRecord.objects.get().state == RecordState.DONE


ACTS = [
    Act(
        name="a request under an idempotency key",
        play=ask,
        meanwhile=ask_again,
        owed=RIVER,
        extra_runs=0,
    ),
]
