"""A message comes in and is handled; whoever handles it dies, and its sender sends it again."""

from __future__ import annotations

from reliable_effects.inbox import consume_once
from tests.faults.locks import nobody_holds_a_lock
from tests.shop.models import Order
from tests.waiting import eventually

from .. import effects, outer_world
from .act import Act
from .emitting import RIVER

_MESSAGE = ("m-1", b'{"n": 1}')


@consume_once("crash")
def handle(message_id: str, payload: bytes) -> None:  # noqa: ARG001  # they say which message it is
    """Nothing but the inbox keeps it from making a second order."""
    order = Order.objects.create()
    effects.placed.emit(order)


def receive() -> None:
    handle(*_MESSAGE)
    outer_world.tell_client("acknowledged")


def send_again() -> None:
    """Until it is acknowledged, and once more: that answer got lost."""
    eventually(nobody_holds_a_lock)
    for _ in range(2):
        handle(*_MESSAGE)


ACTS = [
    Act(name="handle a message", play=receive, owed=RIVER, extra_runs=0, meanwhile=send_again),
]
