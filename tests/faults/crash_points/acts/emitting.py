"""A client changes a row and announces it; the process dies in the block, in COMMIT, after it."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.test import override_settings

from reliable_effects.outbox import dispatch
from reliable_effects.outbox.states import State
from tests.shop.models import Order

from .. import effects, outer_world
from .act import Act, key_of, promise, put


def place_order() -> None:
    with transaction.atomic():
        order = Order.objects.create()
        effects.placed.emit(order)
        outer_world.tell_client("leaving")
    outer_world.tell_client("committed")


def place_order_with_second_thoughts() -> None:
    """What was announced in a savepoint that is rolled back is no promise."""
    with transaction.atomic():
        orders = [Order.objects.create() for _ in range(2)]
        effects.placed.emit_many([(order, {"n": 1}) for order in orders])
        try:
            with transaction.atomic():
                effects.label.promise(orders[0])
                raise KeyError  # noqa: TRY301  # the second thought
        except KeyError:
            effects.wrap.promise(orders[0], once="gift")
            effects.wrap.promise(orders[1], once="gift")
        outer_world.tell_client("leaving")
    outer_world.tell_client("committed")


def place_order_through_celery() -> None:
    """The real sender; what it leaves in the broker's memory dies with the process."""
    with override_settings(RELIABLE_EFFECTS={"TRANSPORT": "celery"}):
        place_order()


def configure_celery() -> None:
    # Here: an app that every process had would be found by TRANSPORT "auto" as well.
    from celery import Celery  # noqa: PLC0415

    app: Any = Celery("shop", broker="memory://")
    app.set_default()
    with override_settings(RELIABLE_EFFECTS={"TRANSPORT": "celery"}):
        assert dispatch.is_configured()


def place_order_without_a_broker() -> None:
    """The first finds it out, and the second finds the breaker open."""
    outer_world.break_broker()
    place_order()
    dispatch.send("default", "effects", [1])


def promise_again() -> None:
    """A debt: one row was never begun, one was given up, one is done, one is not there."""
    with transaction.atomic():
        for order in Order.objects.order_by("pk"):
            effects.bill.promise(order)
        outer_world.tell_client("leaving")
    outer_world.tell_client("committed")


def debts() -> None:
    waiting, cancelled, done, _ = (Order.objects.create() for _ in range(4))
    for order in (cancelled, done):
        promise(effects.bill, order=order)
        put(effects.bill, State.CANCELLED if order is cancelled else State.SUCCEEDED, of=order)
    outer_world.partner().write(f"{done.pk} bill", key_of(effects.bill, done))
    Order.objects.filter(pk=done.pk).update(status="billed")
    promise(effects.bill, order=waiting)


RIVER = ("receipt", "points", "charge", "thank")

ACTS = [
    Act(name="emit", play=place_order, owed=RIVER, makes_orders=True),
    Act(
        name="emit many, a savepoint rolled back, named promises",
        play=place_order_with_second_thoughts,
        owed=(*RIVER, "wrap"),
        makes_orders=True,
    ),
    Act(
        name="emit through Celery",
        prepare=configure_celery,
        play=place_order_through_celery,
        owed=RIVER,
        makes_orders=True,
    ),
    Act(
        name="emit while the broker is down",
        play=place_order_without_a_broker,
        owed=RIVER,
        makes_orders=True,
    ),
    Act(
        name="promise debts again",
        prepare=debts,
        play=promise_again,
        may_stay=True,
    ),
]
