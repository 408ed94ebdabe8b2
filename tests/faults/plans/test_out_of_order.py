"""
Rows that appear out of the order of their ids are found: nobody remembers "the last id I saw".

Two transactions: the one that took the lower ids commits last, when workers and relay have long
been beyond them. SQLite has one writer at a time, so there it cannot happen.
"""

from __future__ import annotations

from threading import Event, Thread
from typing import Self

import pytest
from django.db import connection, connections, transaction

from reliable_effects.outbox import low_water
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.relay import relay
from reliable_effects.outbox.worker import work
from tests.faults.outside import Outside
from tests.outbox.conftest import make_effect  # noqa: F401  # a fixture
from tests.shop.models import Order
from tests.sweeps import transport

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="one writer at a time"),
    pytest.mark.fault("a transaction with lower ids commits last", rows="D13"),
]

_ROUNDS, _MEANWHILE = 3, 60  # more than one hint's ids, so that the marks of a scan are set


@pytest.fixture(autouse=True)
def _no_marks() -> None:
    low_water.forget()


@pytest.fixture
def outside(tmp_path) -> Outside:
    return Outside(tmp_path / "ledger")


@pytest.fixture
def told(make_effect, outside):  # noqa: F811  # a fixture
    def tell(order: Order, ctx) -> None:
        outside.write(f"order {order.pk}", ctx.idempotency_key)

    return make_effect(tell)


class Late:
    """A transaction in a thread: it promises at once, and commits when it is told to."""

    def __init__(self, effect) -> None:
        self.order = Order.objects.create()
        self._effect, self._promised, self._may_commit = effect, Event(), Event()
        self._thread = Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._promised.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._may_commit.set()
        self._thread.join(60)

    def _run(self) -> None:
        with transaction.atomic():
            self._effect.promise(self.order)
            self._promised.set()
            self._may_commit.wait(60)
        connections.close_all()


def _promise_others(effect) -> list[Order]:
    orders = [Order.objects.create() for _ in range(_MEANWHILE)]
    with transaction.atomic():
        for order in orders:
            effect.promise(order)
    return orders


def test_a_worker_that_is_beyond_an_id_still_finds_it(told, outside, evidence):
    """What committed late is taken by the next look."""
    committed = []
    for _ in range(_ROUNDS):
        with Late(told) as late:
            others = _promise_others(told)
            work((), lambda: False, drain=True)
            assert len(outside.calls()) == len(committed) + len(others)
        committed += [*others, late.order]
        work((), lambda: False, drain=True)

    verdict = outside.judge(f"order {order.pk}" for order in committed)
    evidence.judged(verdict, strikes=_ROUNDS)
    assert verdict.extra_runs == 0


def test_a_relay_that_is_beyond_an_id_still_hints_it(told, settings, evidence):
    """Also where no hint of its own was ever sent."""
    with Late(told) as late:
        others = _promise_others(told)
        settings.RELIABLE_EFFECTS = {"TRANSPORT": "tests.sweeps.transport.send"}
        transport.reset()
        relay("default")
        assert len(transport.hinted_ids()) == len(others)
    relay("default")

    late_row = Delivery.objects.get(event__subject_pk=str(late.order.pk))
    assert late_row.pk < min(transport.hinted_ids()[:-1])
    assert transport.hinted_ids()[-1] == late_row.pk
    evidence.add()
