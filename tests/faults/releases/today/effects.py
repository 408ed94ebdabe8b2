from __future__ import annotations

from datetime import timedelta

from django.db.models import QuerySet

from reliable_effects import ONCE, EffectContext, effect
from tests.faults.releases.acting import AT_ONCE, act
from tests.shop.models import Order

from .events import Ordered, ordered


@effect("release.receipt", on=ordered, backoff=AT_ONCE)
def receipt(order: Order, ctx: EffectContext[Ordered]) -> None:
    assert ctx.payload.currency == "EUR"  # yesterday's orders were brought up
    act("receipt", order, ctx)


@effect("release.charge_card", aliases=["release.charge"], on=ordered, backoff=AT_ONCE)
def charge_card(order: Order, ctx: EffectContext[Ordered]) -> None:
    """Renamed: what was owed under the old name is owed once."""
    act("charge", order, ctx)


@charge_card.owed(since="placed_at", grace=timedelta(minutes=15), debt=ONCE)
def unpaid_orders() -> QuerySet[Order]:
    return Order.objects.filter(charge_id="")


@effect("release.loyalty", on=ordered, backoff=AT_ONCE)
def loyalty(order: Order, ctx: EffectContext[Ordered]) -> None:
    """New: yesterday's workers do not know it."""
    act("loyalty", order, ctx)
