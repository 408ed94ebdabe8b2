"""
What type checkers tell users of the public names: checked by mypy, never run.

A line that must be refused carries an ignore, and mypy refuses an ignore that is not needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypedDict, assert_type

from django.db.models import QuerySet

from reliable_effects import ONCE, Backoff, EffectContext, Event, Skip, Snooze, effect
from reliable_effects.effects.effect import Effect
from reliable_effects.effects.registry import Emitted
from tests.shop.models import LedgerEntry, Order


@dataclass
class Placed:
    coupon: str = ""


class Seen(TypedDict):
    by: str


placed: Event[Order, Placed] = Event("typing.placed", subject="shop.Order", version=2)
seen: Event[Order, Seen] = Event("typing.seen", subject="shop.Order", payload=Seen)
night: Event[None, dict[str, Any]] = Event("typing.night", subject=None)


# Emitting


def a_view(order: Order, entry: LedgerEntry) -> None:
    assert_type(placed.emit(order, Placed(coupon="TEA")), Emitted)
    placed.emit(order)
    placed.emit(order, Placed(), once="first", using="other")
    seen.emit(order, {"by": "anna"})
    night.emit(None, {"any": 1})
    assert_type(placed.emit_many([(order, Placed()), (order, None)]), list[Emitted])

    placed.emit(entry, Placed())  # type: ignore[arg-type]  # another model
    placed.emit(order, {"coupon": "TEA"})  # type: ignore[arg-type]  # not the dataclass
    placed.emit(order, Placed(coupon=5))  # type: ignore[arg-type]  # not the field's type
    seen.emit(order, {"bye": "anna"})  # type: ignore[arg-type]  # no such key
    night.emit(order, {})  # type: ignore[arg-type]  # it is about no row
    placed.emit(subject=order)  # type: ignore[call-arg]  # positional only


# Effects of an event


@effect(
    "typing.receipt",
    on=placed,
    aliases=["typing.mail"],
    max_attempts=8,
    backoff=Backoff(first=timedelta(seconds=10), longest=timedelta(hours=1)),
    timeout=timedelta(seconds=30),
    max_runtime=timedelta(minutes=5),
    queue="mail",
    dependency="postmark",
    verify=lambda order, ctx: order.pk == ctx.attempt or None,
    still_needed=lambda order: order.status == "placed",
    expires_after=None,
    harmless_to_repeat=False,
    atomic=False,
    subject_gone="skip",
    retention={"SUCCEEDED": timedelta(days=30), "POISONED": None},
)
def receipt(order: Order, ctx: EffectContext[Placed]) -> None:
    assert_type(ctx.payload, Placed)
    assert_type(ctx.payload.coupon, str)
    assert_type(ctx.idempotency_key, str)
    assert_type(ctx.key_for("refund"), str)
    assert_type(ctx.attempt, int)
    assert_type(ctx.delivery_id, int)
    assert_type(ctx.event.name, str)
    ctx.heartbeat()
    ctx.logger.info("by %s", ctx.deadline)
    if order.status:
        raise Snooze(timedelta(minutes=1))
    raise Skip("nothing to do")


assert_type(receipt, Effect[Order, Placed])


@effect("typing.wrong_subject", on=placed)  # type: ignore[arg-type]  # it would get an Order
def wrong_subject(entry: LedgerEntry, ctx: EffectContext[Placed]) -> None: ...


@effect("typing.wrong_payload", on=placed)  # type: ignore[arg-type]  # it would get a Placed
def wrong_payload(order: Order, ctx: EffectContext[Seen]) -> None: ...


@effect("typing.no_context", on=placed)  # type: ignore[arg-type]  # it would get two arguments
def no_context(order: Order) -> None: ...


@effect("typing.late", on=placed)  # type: ignore[arg-type]  # refused at run time as well
async def late(order: Order, ctx: EffectContext[Placed]) -> None: ...


effect("typing.slip", on=placed, max_atempts=3)  # type: ignore[call-overload]  # misspelt
effect("typing.slip", on=placed, timeout=30)  # type: ignore[call-overload]  # seconds, or minutes?
effect("typing.slip", on=placed, subject_gone="ignore")  # type: ignore[call-overload]
effect("typing.slip", on=placed, subject="shop.Order")  # type: ignore[call-overload]  # the event's


# Effects that are promised


@effect("typing.wrap", subject="shop.Order", still_needed=lambda order: order.status == "placed")
def wrap(order: Order, ctx: EffectContext[dict[str, str]]) -> None:
    assert_type(order.status, str)
    assert_type(ctx.payload, dict[str, str])


assert_type(wrap, Effect[Order, dict[str, str]])


def promises(order: Order, entry: LedgerEntry) -> None:
    assert_type(wrap.promise(order), Emitted)
    wrap.promise(order, {"paper": "red"}, once="first", using="other")
    receipt.promise(order, Placed())

    wrap.promise(entry)  # type: ignore[arg-type]  # another model
    wrap.promise(order, {"paper": 1})  # type: ignore[dict-item]  # not of the payload's type
    receipt.promise(order, {"coupon": "TEA"})  # type: ignore[arg-type]  # not the dataclass


# Owed queries


@receipt.owed(since="placed_at", grace=timedelta(minutes=15), debt=ONCE)
def unpaid() -> QuerySet[Order]:
    return Order.objects.filter(charge_id="")


@wrap.owed(since="placed_at", grace=timedelta(minutes=15), debt=lambda order: str(order.placed_at))
def unwrapped() -> QuerySet[Order]:
    return Order.objects.all()


assert_type(unpaid, Callable[[], QuerySet[Order]])
receipt.owed(since="placed_at", grace=15, debt=ONCE)  # type: ignore[arg-type]  # minutes?
receipt.owed(since="placed_at", grace=timedelta(0), debt="month")  # type: ignore[arg-type]
