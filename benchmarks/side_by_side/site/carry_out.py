"""What every effect of every contender does: look again, and act. Acting takes no time, or 100 ms."""

from __future__ import annotations

import time

from django.conf import settings

from . import ledger
from .models import Order
from .slow import SLOW


def act(order: int, number: int, kind: str) -> None:
    ledger.note(settings.BENCH_LEDGER, order, number)
    if kind == "slow":
        time.sleep(SLOW)


def look_and_act(order: int, number: int, kind: str) -> None:
    """For those that do not look at the subject themselves."""
    if Order.objects.filter(pk=order, status="placed").exists():
        act(order, number, kind)
