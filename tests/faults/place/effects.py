"""Effects that write to the world outside, which is a file that a test names in TEST_OUTSIDE."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import transaction

from reliable_effects import Backoff, EffectContext, Snooze, effect
from tests.faults.outside import Outside
from tests.shop.models import Order
from tests.waiting import eventually

OUTSIDE = "TEST_OUTSIDE"
Ctx = EffectContext[dict[str, str]]

HALF_AN_HOUR = timedelta(minutes=30)
AT_ONCE = Backoff(first=timedelta(0), longest=timedelta(0))


def act(what: str, order: Order, ctx: Ctx) -> None:
    Outside(os.environ[OUTSIDE]).write(f"{what} {order.pk}", ctx.idempotency_key)


def named(what: str, order: Order) -> str:
    """What `act` writes, for the judgement."""
    return f"{what} {order.pk}"


@effect("place.ring", subject="shop.Order", backoff=AT_ONCE)
def ring(order: Order, ctx: Ctx) -> None:
    act("ring", order, ctx)


@effect("place.ring_harmlessly", subject="shop.Order", harmless_to_repeat=True, backoff=AT_ONCE)
def ring_harmlessly(order: Order, ctx: Ctx) -> None:
    act("ring harmlessly", order, ctx)


@effect("place.count", subject="shop.Order", atomic=True, backoff=AT_ONCE)
def count(order: Order, _ctx: Ctx) -> None:
    """It writes in the database, and only there does it happen exactly once."""
    Order.objects.using(order._state.db).filter(pk=order.pk).update(status="counted")


@effect("place.call_back", subject="shop.Order", backoff=AT_ONCE)
def call_back(order: Order, ctx: Ctx) -> None:
    """An effect that emits."""
    act("call back", order, ctx)
    with transaction.atomic(using=order._state.db):
        ring.promise(order, using=order._state.db)


@effect("place.snooze", subject="shop.Order")
def snooze(order: Order, ctx: Ctx) -> None:
    act("snooze", order, ctx)
    raise Snooze(HALF_AN_HOUR)


@effect("place.hold", subject="shop.Order", backoff=AT_ONCE, timeout=timedelta(minutes=10))
def hold(order: Order, ctx: Ctx) -> None:
    """Is at work for as long as a file is there; the test takes it away."""
    act("hold", order, ctx)
    held = Path(os.environ[OUTSIDE] + ".hold")
    eventually(lambda: not held.exists(), within=60)


def promise(what: Any, times: int = 1, *, using: str = "default") -> list[str]:
    """Promise *what* to new orders, each in a transaction of its own; what it will write."""
    done = []
    for _ in range(times):
        with transaction.atomic(using=using):
            order = Order.objects.using(using).create()
            what.promise(order, using=using)
        done.append(named(what.name.removeprefix("place.").replace("_", " "), order))
    return done
