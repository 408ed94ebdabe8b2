from __future__ import annotations

from datetime import timedelta

from django.db.models import QuerySet

from reliable_effects import ONCE, EffectContext, effect
from tests.faults.releases.acting import AT_ONCE, act
from tests.shop.models import Order

from .events import Ordered, ordered


@effect("release.receipt", on=ordered, backoff=AT_ONCE)
def receipt(order: Order, ctx: EffectContext[Ordered]) -> None:
    act("receipt", order, ctx)


@effect("release.charge", on=ordered, backoff=AT_ONCE)
def charge(order: Order, ctx: EffectContext[Ordered]) -> None:
    act("charge", order, ctx)


@charge.owed(since="placed_at", grace=timedelta(minutes=15), debt=ONCE)
def unpaid_orders() -> QuerySet[Order]:
    return Order.objects.filter(charge_id="")


@effect("release.sync_with_the_old_crm", on=ordered, backoff=AT_ONCE)
def sync(order: Order, ctx: EffectContext[Ordered]) -> None:
    """Gone from today's release."""
    act("sync", order, ctx)
