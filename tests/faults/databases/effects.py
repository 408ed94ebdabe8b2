"""What follows an order: two calls to a partner outside, and a write of the effect's own."""

from __future__ import annotations

import os
import time
from datetime import timedelta

from reliable_effects import Backoff, EffectContext, effect
from tests.faults.outside import Outside
from tests.shop.models import LedgerEntry, Order

from .events import order_placed

SOON = Backoff(first=timedelta(milliseconds=200), longest=timedelta(seconds=1))
Ctx = EffectContext[dict[str, str]]


def call_partner(order: Order, what: str, ctx: Ctx) -> None:
    """What was called stays called; an order is known outside by the name its client gave it."""
    Outside(os.environ["FAULTS_OUTSIDE"]).write(f"{order.charge_id}: {what}", ctx.idempotency_key)


@effect("databases.call", on=order_placed, backoff=SOON)
def call(order: Order, ctx: Ctx) -> None:
    time.sleep(float(os.environ.get("FAULTS_CALL_TAKES", "0.005")))  # a partner takes its time
    call_partner(order, "call", ctx)


@effect("databases.harmless", on=order_placed, backoff=SOON, harmless_to_repeat=True)
def harmless(order: Order, ctx: Ctx) -> None:
    call_partner(order, "harmless", ctx)


@effect("databases.points", on=order_placed, backoff=SOON, atomic=True)
def points(order: Order, ctx: Ctx) -> None:
    LedgerEntry.objects.create(order_pk=order.pk, what="points", key=ctx.idempotency_key)
