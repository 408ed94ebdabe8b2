"""Effects that act outside: each appends a line to the file that OUTSIDE names."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from reliable_effects import EffectContext, Event, effect
from tests.faults.outside import Outside
from tests.shop.models import Order
from tests.waiting import eventually

Ctx = EffectContext[dict[str, str]]

PATIENCE = float(os.environ.get("PATIENCE", "2"))  # seconds that `wait` waits at most


def act(order: Order, ctx: Ctx) -> None:
    Outside(os.environ["OUTSIDE"]).write(f"order {order.pk}", ctx.idempotency_key)


@effect("brokers.note", subject="shop.Order")
def note(order: Order, ctx: Ctx) -> None:
    act(order, ctx)


@effect("brokers.pay", subject="shop.Order", queue="payments")
def pay(order: Order, ctx: Ctx) -> None:
    act(order, ctx)


@effect("brokers.wait", subject="shop.Order", timeout=timedelta(seconds=PATIENCE + 1))
def wait(order: Order, ctx: Ctx) -> None:
    """Acts at once, and ends when a test lets it: then a file stands beside the one outside."""
    act(order, ctx)
    eventually(Path(os.environ["OUTSIDE"] + ".go").exists, within=PATIENCE)


imported: Event[Order, dict[str, str]] = Event("brokers.order_imported", subject="shop.Order")


@effect("brokers.index", on=imported)
def index(order: Order, ctx: Ctx) -> None:
    act(order, ctx)
