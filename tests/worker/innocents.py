"""Effects that must not suffer for what others do; each says outside that it ran."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import connections

from reliable_effects import Backoff, EffectContext, effect
from tests.faults.outside import Outside
from tests.shop.models import Order
from tests.waiting import eventually

AT_ONCE = Backoff(first=timedelta(0), longest=timedelta(0))
SHORT = timedelta(seconds=1)
Ctx = EffectContext[dict[str, str]]


def outside() -> Outside:
    return Outside(os.environ["TEST_OUTSIDE"])


def word(order_pk: int, name: str) -> str:
    return f"order {order_pk}: {name}"


@effect("harm.guest", subject="shop.Order", timeout=timedelta(seconds=30))
def guest(order: Order, ctx: Ctx) -> None:
    """Runs once, whatever stands beside it in its hint."""
    outside().write(word(order.pk, "guest"), ctx.idempotency_key)


@effect("harm.member", subject="shop.Order", harmless_to_repeat=True)
def member(order: Order, ctx: Ctx) -> None:
    """May run again with its group, and fails where its connection was broken or read only."""
    with connections["other"].cursor() as cursor:
        cursor.execute("SELECT 1")
    Order.objects.filter(pk=order.pk).update(charge_id="member")
    outside().write(word(order.pk, "member"), ctx.idempotency_key)


@effect("harm.booker", subject="shop.Order")
def booker(order: Order, ctx: Ctx) -> None:
    """Writes to both databases: what it wrote must stay."""
    Order.objects.filter(pk=order.pk).update(charge_id="booked")
    Order.objects.using("other").create(charge_id=ctx.idempotency_key)
    outside().write(word(order.pk, "booker"), ctx.idempotency_key)


@effect("harm.nap", subject="shop.Order", timeout=SHORT)
def nap(order: Order, ctx: Ctx) -> None:
    """Is at work when something happens to others, or to its worker."""
    outside().write(word(order.pk, "nap"), ctx.idempotency_key)
    time.sleep(0.6)


@effect("harm.zombie", subject="shop.Order", timeout=SHORT)
def zombie(order: Order, ctx: Ctx) -> None:
    """The first run goes on long after its lease; the second finds the other's trace and ends."""
    outside().write(word(order.pk, "zombie"), ctx.idempotency_key)
    go = Path(f"{os.environ['TEST_OUTSIDE']}-go-{order.pk}")
    eventually(lambda: ctx.attempt > 1 or go.exists(), within=60)


@effect("harm.hang", subject="shop.Order", timeout=SHORT, max_attempts=1)
def hang(order: Order, ctx: Ctx) -> None:
    """Whatever habits were left behind, this must end by its timeout."""
    outside().write(word(order.pk, "hang"), ctx.idempotency_key)
    time.sleep(3600)


def _meeting(name: str) -> Any:
    @effect(f"harm.meet_{name}", subject="shop.Order", timeout=timedelta(seconds=20))
    def meet(order: Order, ctx: Ctx) -> None:
        """Comes back when all others of its meeting have come: each needs a slot of its own."""
        place = Path(f"{os.environ['TEST_OUTSIDE']}-meeting-{order.charge_id}")
        with place.open("a") as book:
            book.write(f"{name}\n")
        # Not in time: the others have no slot.
        eventually(lambda: len(set(place.read_text().split())) >= int(order.status), within=15)
        outside().write(word(order.pk, "met"), ctx.idempotency_key)

    return meet


MEETING = tuple(_meeting(name) for name in "abcd")
