"""Effects that a worker has to survive, and innocents that must not suffer for them."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from datetime import timedelta

from reliable_effects import Backoff, EffectContext, effect
from tests.shop.models import LedgerEntry, Order

from . import harm, innocents  # noqa: F401  # workers find their effects by this module

AT_ONCE = Backoff(first=timedelta(0), longest=timedelta(0))
Ctx = EffectContext[dict[str, str]]


def write_down(order: Order, what: str, ctx: Ctx) -> None:
    LedgerEntry.objects.create(order_pk=order.pk, what=what, key=ctx.idempotency_key)


@effect("worker.innocent", subject="shop.Order", harmless_to_repeat=True)
def innocent(order: Order, ctx: Ctx) -> None:
    write_down(order, "innocent", ctx)


@effect("worker.kill", subject="shop.Order", timeout=timedelta(seconds=1))
def kill(order: Order, ctx: Ctx) -> None:
    write_down(order, "kill", ctx)
    os.kill(os.getpid(), signal.SIGKILL)


@effect("worker.segfault", subject="shop.Order", timeout=timedelta(seconds=1))
def segfault(order: Order, ctx: Ctx) -> None:
    write_down(order, "segfault", ctx)
    ctypes.string_at(0)


@effect(
    "worker.hang", subject="shop.Order", timeout=timedelta(seconds=1), max_attempts=2,
    backoff=AT_ONCE,
)  # fmt: skip
def hang(order: Order, ctx: Ctx) -> None:
    write_down(order, "hang", ctx)
    time.sleep(3600)


@effect("worker.hang_in_c", subject="shop.Order", timeout=timedelta(seconds=1))
def hang_in_c(order: Order, ctx: Ctx) -> None:
    """Holds the GIL and hears no signal."""
    write_down(order, "hang in C", ctx)
    sum(range(10**15))


@effect("worker.beat", subject="shop.Order", timeout=timedelta(seconds=1))
def beat(order: Order, ctx: Ctx) -> None:
    """Takes twice its timeout and its lease, and says so in between."""
    for _ in range(16):
        time.sleep(0.25)
        ctx.heartbeat()
    write_down(order, "beat", ctx)


@effect("worker.exit", subject="shop.Order", max_attempts=1)
def leave(order: Order, ctx: Ctx) -> None:
    write_down(order, "exit", ctx)
    raise SystemExit(3)
