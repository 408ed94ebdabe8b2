"""
P5 before brokers that are ill: no request raises, and none waits.

Every request here places an order; afterwards everything promised is carried out without a broker.
"""

from __future__ import annotations

import threading
import time

import pytest
from django.db import connections

from . import effects
from .conftest import drain, promise, through

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database]

IN_A_ROW, AT_ONCE = 20, 8
# For all requests together: their own work on a loaded machine. Each of them would wait from half a
# second to for ever.
BUDGET = 8.0

BEFORE, AFTER = "before connect", "after connect"
# How the proxy behaves, or what is done to the broker itself; and since when.
ILLS = [
    ("refuse", BEFORE), ("freeze", BEFORE),
    ("cut", AFTER), ("slow", AFTER), ("hang", AFTER), ("fill", AFTER),
]  # fmt: skip
MORE = [
    ("cut", BEFORE), ("drop_replies", BEFORE), ("slow", BEFORE), ("hang", BEFORE), ("fill", BEFORE),
    ("refuse", AFTER), ("freeze", AFTER), ("drop_replies", AFTER),
]  # fmt: skip
FAULT = "the broker is refused, reset, hung, silent, slow or out of memory while requests emit"


@pytest.mark.fault(FAULT, rows="B1 B2 B5 B6")
@pytest.mark.parametrize(
    ("ill", "since"), [*ILLS, *(pytest.param(*more, marks=pytest.mark.full) for more in MORE)]
)
def test_requests_of_a_process_do_not_wait(*, ill, since, broker, proxy, web, outside, evidence):
    """A broker is no part of a sale: it may cost none of them anything."""
    web(through(proxy, broker))
    words = promise(effects.note) if since == AFTER else set()
    if ill == "hang":
        broker.freeze()
    elif ill == "fill":
        broker.fill()
    else:
        proxy.mode = ill

    began_at = time.monotonic()
    words |= promise(effects.note, IN_A_ROW)
    words |= together(AT_ONCE)
    seconds = time.monotonic() - began_at

    proxy.mode = "ok"
    broker.heal()
    drain()
    verdict = outside.judge(words)
    assert seconds < BUDGET, f"{seconds:.1f} s for {len(words)} requests"
    assert len(words) == IN_A_ROW + AT_ONCE + (since == AFTER)
    assert (verdict.extra_runs, verdict.other_keys) == (0, 0)
    evidence.add(lost=verdict.lost, phantom=verdict.phantom)


def together(requests: int) -> set[str]:
    """The threads of one web process, all at the same moment."""
    words: set[str] = set()
    gate = threading.Barrier(requests)

    def request() -> None:
        gate.wait(10)
        try:
            words.update(promise(effects.note))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=request) for _ in range(requests)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return words
