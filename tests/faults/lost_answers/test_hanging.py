"""
The database hangs in the middle of a delivery: connections stay open, and nothing is answered.

The lease takes over, another worker does the work, and whatever the first one still has to say
finds that its token is gone. How long the first one waits is for the settings to say: MariaDB's
client has `read_timeout`, PostgreSQL's none, and there the watchdog of a worker's process ends it
with its lease.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections

from reliable_effects.clock import moved
from reliable_effects.outbox.deliver import on_hint
from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.rescue import rescue
from reliable_effects.outbox.states import State
from tests.faults.outside import Outside
from tests.outbox.conftest import carry_out, pending_delivery
from tests.services import Proxy
from tests.waiting import eventually

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="the proxy speaks to a server"),
]


@pytest.fixture
def outside(tmp_path) -> Outside:
    return Outside(tmp_path / "calls")


class Worker(threading.Thread):
    """One hint in a thread of its own, whose connection goes through *wire*."""

    def __init__(self, wire: Proxy, delivery: Delivery, *wrappers: Any) -> None:
        super().__init__(daemon=True)
        self._wire, self._delivery, self._wrappers = wire, delivery, wrappers

    def run(self) -> None:
        mine = connections["default"]
        # A copy: all threads share the dict, and only this one's connection is to hang.
        mine.settings_dict = mine.settings_dict | {"PORT": self._wire.port}
        mine.execute_wrappers += self._wrappers
        try:
            on_hint({"v": 1, "db": "default", "ids": [self._delivery.pk]})
        finally:
            connections["default"].close()


@pytest.fixture
def wire():
    with Proxy(int(connection.settings_dict["PORT"])) as wire:
        yield wire


@pytest.mark.fault(
    "the database hangs while a worker completes, until long after its lease", rows="D5 W2"
)
def test_a_worker_that_hung_with_its_database_overwrites_nothing(
    make_effect, outside, wire, evidence
):
    """Its completion arrives an hour late, and says a token that nobody has any more."""

    def acts(order, ctx):
        outside.write(f"order {order.pk}", ctx.idempotency_key)
        if threading.current_thread() is first:
            wire.mode = "freeze"

    delivery = pending_delivery(make_effect(acts))
    first = Worker(wire, delivery)
    first.start()
    eventually(lambda: wire.mode == "freeze")

    with moved(timedelta(hours=1)):
        rescue("default", Turn(None))
        carry_out(delivery)
    done = Delivery.objects.filter(pk=delivery.pk).values().get()
    assert first.is_alive()
    wire.mode = "ok"
    first.join(20)

    assert not first.is_alive()
    assert Delivery.objects.filter(pk=delivery.pk).values().get() == done
    assert (delivery.state, delivery.attempts) == (State.SUCCEEDED, 2)
    assert Attempt.objects.get().outcome == Attempt.Outcome.LOST
    _judge(outside, delivery, evidence, extra_runs=1)


@pytest.mark.fault("a claim hangs on its way to the database, until all is done", rows="D5")
def test_a_claim_that_comes_too_late_takes_nothing(make_effect, outside, wire, evidence):
    """It names the state that it saw, and that has passed."""
    first, delivery = _stopped_at_its_claim(make_effect, outside, wire, "freeze")

    carry_out(delivery)
    wire.mode = "ok"
    first.join(20)

    assert not first.is_alive()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == (State.SUCCEEDED, 1)
    _judge(outside, delivery, evidence)


@pytest.mark.skipif(
    connection.vendor == "mysql", reason="there a claim that hangs has not been committed"
)
@pytest.mark.fault("a claim is done, and its answer hangs for ever", rows="D5")
def test_a_claim_that_nobody_was_told_of_ends_with_its_lease(make_effect, outside, wire, evidence):
    """The row says RUNNING, and nobody runs it; the lease is what tells."""
    first, delivery = _stopped_at_its_claim(make_effect, outside, wire, "drop_replies")
    eventually(Delivery.objects.running().exists)

    with moved(timedelta(hours=1)):
        rescue("default", Turn(None))
        carry_out(delivery)
    wire.mode = "cut"
    wire.mode = "ok"
    first.join(30)

    assert not first.is_alive()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == (State.SUCCEEDED, 2)
    assert Attempt.objects.get().outcome == Attempt.Outcome.LOST
    _judge(outside, delivery, evidence)


def _stopped_at_its_claim(make_effect, outside, wire, mode) -> tuple[Worker, Delivery]:
    def acts(order, ctx):
        outside.write(f"order {order.pk}", ctx.idempotency_key)

    delivery = pending_delivery(make_effect(acts))
    claim = "SKIP LOCKED" if connection.vendor == "postgresql" else "SET `attempts` ="

    struck: list[str] = []

    def hang(execute, sql, params, many, context):
        if claim in sql and not struck:
            struck.append(sql)
            wire.mode = mode
        return execute(sql, params, many, context)

    first = Worker(wire, delivery, hang)
    first.start()
    eventually(lambda: wire.mode == mode)
    return first, delivery


@pytest.mark.fault(
    "the database hangs for good: the worker's process ends with its lease", rows="D5"
)
def test_a_worker_process_does_not_wait_for_ever(make_effect, outside, wire, tmp_path, evidence):
    """A slot that waits for a dead database would be lost until somebody restarts the worker."""
    delivery = pending_delivery("test.hangs")
    began = time.monotonic()
    worker = _spawned(wire, delivery, outside.path)
    try:
        eventually(outside.calls, within=30)
        wire.mode = "freeze"
        (tmp_path / "frozen").touch()
        worker.wait(timeout=60)
    finally:
        worker.kill()
        worker.wait()

    assert time.monotonic() - began < 60  # the lease is of 3 seconds
    assert worker.returncode != 0

    def acts(order, ctx):
        outside.write(f"order {order.pk}", ctx.idempotency_key)

    make_effect(acts, name="test.hangs")
    with moved(timedelta(hours=1)):
        rescue("default", Turn(None))
        carry_out(delivery)
    assert (delivery.state, delivery.attempts) == (State.SUCCEEDED, 2)
    _judge(outside, delivery, evidence, extra_runs=1)


@pytest.mark.fault("the database hangs for good before a worker has claimed anything", rows="D5")
@pytest.mark.parametrize("at", ["look", "sweep"])
def test_a_worker_process_that_only_asks_does_not_wait_for_ever(  # noqa: PLR0917  # fixtures
    at, make_effect, outside, wire, tmp_path, evidence
):
    """After a failover nobody closes the old connection: its client would wait for hours."""
    delivery = pending_delivery("test.hangs")
    worker = _spawned(wire, delivery, tmp_path / "told", at)
    try:
        eventually((tmp_path / "told").exists, within=30)
        wire.mode = "freeze"
        (tmp_path / "frozen").touch()
        assert worker.wait(timeout=60) != 0
    finally:
        worker.kill()
        worker.wait()

    def acts(order, ctx):
        outside.write(f"order {order.pk}", ctx.idempotency_key)

    make_effect(acts, name="test.hangs")
    carry_out(delivery)
    assert (delivery.state, delivery.attempts) == (State.SUCCEEDED, 1)
    _judge(outside, delivery, evidence)


def _spawned(
    wire: Proxy, delivery: Delivery, ledger: Path, *hangs_at: str
) -> subprocess.Popen[bytes]:
    """As a child of a worker: its main thread, where the watchdog is set."""
    variable = {"postgresql": "TEST_POSTGRES_URL", "mysql": "TEST_MARIADB_URL"}[connection.vendor]
    direct = f":{connection.settings_dict['PORT']}/"
    url = os.environ[variable].replace(direct, f":{wire.port}/")
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.faults.lost_answers.hang",
            str(delivery.pk),
            str(ledger),
            *hangs_at,
        ],
        env=os.environ | {variable: url, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        stderr=subprocess.DEVNULL,
    )


def _judge(outside: Outside, delivery: Delivery, evidence, *, extra_runs: int = 0) -> None:
    verdict = outside.judge({f"order {delivery.event.subject_pk}"})
    evidence.judged(verdict)
    assert (verdict.extra_runs, verdict.other_keys) == (extra_runs, 0)
