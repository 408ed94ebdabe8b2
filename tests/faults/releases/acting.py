"""What the effects of both releases do: one line in the world outside."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from reliable_effects import Backoff
from tests.faults.outside import Outside
from tests.shop.models import Order

AT_ONCE = Backoff(first=timedelta(0), longest=timedelta(0))


def act(what: str, order: Order, ctx: Any) -> None:
    Outside(os.environ["OUTSIDE"]).write(f"{what} {order.pk}", ctx.idempotency_key)
    if what == "charge":
        Order.objects.filter(pk=order.pk).update(charge_id=ctx.idempotency_key)
