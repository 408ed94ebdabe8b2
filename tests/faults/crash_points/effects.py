"""Effects that end in every way there is. What they do, they do outside; killed lines among it."""

from __future__ import annotations

import signal
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from reliable_effects import (
    ONCE,
    Backoff,
    EffectContext,
    Event,
    Poison,
    Skip,
    Snooze,
    Uncertain,
    effect,
)
from reliable_effects.outbox import timeout
from tests.shop.models import LedgerEntry, Order

from . import outer_world

Ctx = EffectContext[dict[str, Any]]
SOON = Backoff(first=timedelta(seconds=1), longest=timedelta(seconds=1))

placed: Event[Order, dict[str, Any]] = Event("crash.placed", subject="shop.Order")
charged: Event[Order, dict[str, Any]] = Event("crash.charged", subject="shop.Order")


def call_partner(order: Order, word: str, ctx: Ctx) -> None:
    outer_world.partner().write(f"{order.pk} {word}", ctx.idempotency_key)


def was_called(order: Order, word: str) -> bool:
    calls = outer_world.partner().calls()
    return any(call.what == f"{order.pk} {word}" for call in calls)


# Owed by an order


@effect("crash.receipt", on=placed, backoff=SOON)
def receipt(order: Order, ctx: Ctx) -> None:
    call_partner(order, "receipt", ctx)


@effect("crash.points", on=placed, backoff=SOON, atomic=True)
def points(order: Order, ctx: Ctx) -> None:
    LedgerEntry.objects.create(order_pk=order.pk, what="points", key=ctx.idempotency_key)
    call_partner(order, "points", ctx)


@effect("crash.charge", on=placed, backoff=SOON, queue="payments")
def charge(order: Order, ctx: Ctx) -> None:
    """Emits inside itself."""
    call_partner(order, "charge", ctx)
    with transaction.atomic():
        Order.objects.filter(pk=order.pk).update(charge_id=ctx.idempotency_key)
        charged.emit(order)


@effect("crash.thank", on=charged, backoff=SOON, harmless_to_repeat=True)
def thank(order: Order, ctx: Ctx) -> None:
    call_partner(order, "thank", ctx)


# Promised one by one


@effect("crash.wrap", subject="shop.Order", backoff=SOON)
def wrap(order: Order, ctx: Ctx) -> None:
    call_partner(order, "wrap", ctx)


@effect("crash.label", subject="shop.Order", backoff=SOON)
def label(order: Order, ctx: Ctx) -> None:
    call_partner(order, "label", ctx)


@effect("crash.book", subject="shop.Order", backoff=SOON, atomic=True)
def book(order: Order, ctx: Ctx) -> None:
    """Atomic, and emits inside itself."""
    LedgerEntry.objects.create(order_pk=order.pk, what="book", key=ctx.idempotency_key)
    charged.emit(order)
    call_partner(order, "book", ctx)


@effect("crash.bill", subject="shop.Order", backoff=SOON)
def bill(order: Order, ctx: Ctx) -> None:
    call_partner(order, "bill", ctx)
    Order.objects.filter(pk=order.pk).update(status="billed")


@bill.owed(since="placed_at", grace=timedelta(minutes=15), debt=ONCE)
def unbilled() -> QuerySet[Order]:
    return Order.objects.filter(status="placed")


@effect("crash.fail_once", subject="shop.Order", backoff=SOON, max_attempts=4)
def fail_once(order: Order, ctx: Ctx) -> None:
    if ctx.attempt == 1:
        raise ConnectionError("the partner is down")
    call_partner(order, "fail_once", ctx)


@effect("crash.fail_always", subject="shop.Order", backoff=SOON, max_attempts=2)
def fail_always(_order: Order, _ctx: Ctx) -> None:
    raise ConnectionError("the partner is down")


@effect("crash.fail_atomic", subject="shop.Order", backoff=SOON, max_attempts=4, atomic=True)
def fail_atomic(order: Order, ctx: Ctx) -> None:
    LedgerEntry.objects.create(order_pk=order.pk, what="fail_atomic", key=ctx.idempotency_key)
    if ctx.attempt == 1:
        raise ConnectionError("the partner is down")
    call_partner(order, "fail_atomic", ctx)


@effect("crash.time_out", subject="shop.Order", backoff=SOON, max_attempts=4)
def time_out(order: Order, ctx: Ctx) -> None:
    ctx.heartbeat()
    if ctx.attempt == 1 and timeout.is_enforced():
        signal.raise_signal(signal.SIGALRM)  # as its timeout would
    call_partner(order, "time_out", ctx)


@effect("crash.refuse", subject="shop.Order")
def refuse(_order: Order, _ctx: Ctx) -> None:
    raise Poison("no such address")


@effect("crash.skip", subject="shop.Order")
def skip(_order: Order, _ctx: Ctx) -> None:
    raise Skip("they have unsubscribed")


@effect("crash.expire", subject="shop.Order", expires_after=timedelta(hours=1))
def expire(order: Order, ctx: Ctx) -> None:
    call_partner(order, "expire", ctx)


@effect("crash.needless", subject="shop.Order", still_needed=lambda order: order.status != "placed")
def needless(order: Order, ctx: Ctx) -> None:
    call_partner(order, "needless", ctx)


@effect("crash.snooze_once", subject="shop.Order")
def snooze_once(order: Order, ctx: Ctx) -> None:
    if Order.objects.filter(pk=order.pk, status="placed").update(status="snoozed"):
        raise Snooze(timedelta(minutes=1))
    call_partner(order, "snooze_once", ctx)


# Effects that can be asked what became of them: no extra run, wherever their worker dies


@effect(
    "crash.pay",
    subject="shop.Order",
    backoff=SOON,
    verify=lambda order, _: was_called(order, "pay"),
)
def pay(order: Order, ctx: Ctx) -> None:
    if ctx.attempt == 1:
        raise Uncertain("no answer to a request that never arrived")
    call_partner(order, "pay", ctx)
    raise Uncertain("no answer to one that did")


@effect("crash.doubt", subject="shop.Order", backoff=SOON, max_attempts=2, verify=lambda *_: None)
def doubt(_order: Order, _ctx: Ctx) -> None:
    raise Uncertain("nobody will ever know")


@effect("crash.ask_a_person", subject="shop.Order", backoff=SOON)
def ask_a_person(_order: Order, _ctx: Ctx) -> None:
    raise Uncertain("and nobody can be asked")
