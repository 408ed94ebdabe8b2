from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet

from reliable_effects import ONCE, Backoff, EffectContext, effect

from .events import OrderPlaced, order_charged, order_placed
from .models import LedgerEntry, Order

QUICKLY = Backoff(first=timedelta(seconds=10), longest=timedelta(minutes=1))


def write_down(order: Order, what: str, ctx: EffectContext[OrderPlaced]) -> None:
    LedgerEntry.objects.create(order_pk=order.pk, what=what, key=ctx.idempotency_key)


@effect("shop.send_receipt", on=order_placed, backoff=QUICKLY, max_attempts=3)
def send_receipt(order: Order, ctx: EffectContext[OrderPlaced]) -> None:
    write_down(order, f"receipt {ctx.payload.coupon}".strip(), ctx)


@effect("shop.charge_card", on=order_placed, backoff=QUICKLY, queue="payments")
def charge_card(order: Order, ctx: EffectContext[OrderPlaced]) -> None:
    write_down(order, "charge", ctx)
    with transaction.atomic():
        Order.objects.filter(pk=order.pk).update(charge_id=ctx.idempotency_key)
        order_charged.emit(order)


@charge_card.owed(since="placed_at", grace=timedelta(minutes=15), debt=ONCE)
def unpaid_orders() -> QuerySet[Order]:
    return Order.objects.filter(status="placed", charge_id="")


@effect("shop.count_points", on=order_placed, atomic=True, backoff=QUICKLY)
def count_points(order: Order, ctx: EffectContext[OrderPlaced]) -> None:
    write_down(order, "points", ctx)


@effect("shop.thank", on=order_charged, harmless_to_repeat=True)
def thank(order: Order, ctx: EffectContext[dict[str, str]]) -> None:
    LedgerEntry.objects.create(order_pk=order.pk, what="thanks", key=ctx.idempotency_key)


@effect("shop.wrap", subject="shop.Order", still_needed=lambda order: order.status == "placed")
def wrap(order: Order, ctx: EffectContext[dict[str, str]]) -> None:
    LedgerEntry.objects.create(order_pk=order.pk, what="wrapped", key=ctx.idempotency_key)
