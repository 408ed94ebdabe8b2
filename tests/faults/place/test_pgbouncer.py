"""
Behind PgBouncer in transaction mode: each transaction may be on another server connection.

Nothing of ours outlives its transaction there: no session setting, lock, cursor or prepared
statement. Two server connections for all, so that clients really change places.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from threading import Thread

import pytest
from django.db import connections

from reliable_effects.outbox import remedy
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from tests.conftest import _served
from tests.faults.place.aliases import (
    Config,
    elsewhere,
    empty,
    known,
    like_default,
    made,
    only_on_postgres,
)
from tests.faults.place.effects import call_back, count, promise, ring, ring_harmlessly
from tests.services import Postgres
from tests.services.pgbouncer import PgBouncer
from tests.shop.models import Order
from tests.waiting import eventually

pytestmark = [only_on_postgres]


@pytest.fixture(scope="module")
def bouncer() -> Iterator[PgBouncer]:
    class Behind:
        port = int(like_default()["PORT"])

    yield from _served(lambda: PgBouncer(Behind()).start())


@pytest.fixture(scope="module")
def through_it(bouncer: PgBouncer, django_db_setup: None, django_db_blocker) -> Config:  # noqa: ARG001  # its server
    direct = like_default(NAME="bounced")
    with django_db_blocker.unblock(), made("direct", direct):
        pass
    return direct | {"HOST": "127.0.0.1", "PORT": bouncer.port}


@pytest.fixture
def bounced(through_it: Config, unblocked: None) -> Iterator[str]:  # noqa: ARG001  # any database
    """The alias of a database that is reached through PgBouncer."""
    with known("bounced", through_it):
        yield "bounced"
        empty("bounced")


def succeeded(using: str) -> bool:
    return not Delivery.objects.using(using).exclude(state=State.SUCCEEDED).exists()


@pytest.mark.fault("PgBouncer in transaction mode, for web, workers and sweeps", rows="D10")
def test_everything_goes_through_pgbouncer(bounced, through_it, outside, effects_worker, evidence):
    """Four that emit, three that work and one that sweeps, on two connections."""
    committed: list[str] = []

    def emit() -> None:
        try:
            for each in (ring, ring_harmlessly, count, call_back) * 5:
                committed.extend(promise(each, 1, using=bounced))
        finally:
            connections[bounced].close()

    threads = [Thread(target=emit) for _ in range(4)]
    with effects_worker(processes=3, **elsewhere(through_it)):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        eventually(lambda: succeeded(bounced), within=60)

    counted = {what for what in committed if what.startswith("count")}
    called = {what.replace("call back", "ring") for what in committed if what.startswith("call")}
    verdict = outside.judge({*committed, *called} - counted)
    by_count = Order.objects.using(bounced).filter(status="counted").count()
    assert len(committed) == 80
    evidence.add(
        strikes=80,
        lost=verdict.lost + len(counted) - by_count,
        phantom=verdict.phantom,
        extra_runs=verdict.extra_runs,
    )
    assert verdict.extra_runs == 0


@pytest.mark.fault("PgBouncer in transaction mode, for a person's remedies", rows="D10")
def test_a_redrive_goes_through_pgbouncer_while_others_change_places(bounced, evidence):
    """A cursor on the server would be on somebody else's connection by its second page."""
    promise(ring, 300, using=bounced)
    rows = Delivery.objects.using(bounced)
    over = []

    def get_in_between() -> None:
        try:
            while not over:
                Order.objects.using(bounced).count()
        finally:
            connections[bounced].close()

    threads = [Thread(target=get_in_between) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert len(remedy.cancel(rows.all(), by="ada", why="")) == 300
        assert len(remedy.redrive(rows.all(), by="ada", why="")) == 300
    finally:
        over.append(True)
        for thread in threads:
            thread.join(20)
    evidence.add(strikes=600, lost=300 - rows.due().count())


# About connections themselves, which are the pooler's here.
_NOT_THERE = ["test_kept_connections.py"]


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.fault("PgBouncer in transaction mode, for all tests of the outbox", rows="D10")
def test_the_tests_of_the_outbox_pass_through_pgbouncer(evidence):
    """Whatever the core does, it does there."""
    with Postgres() as server, PgBouncer(server, connections=4) as bouncer:
        command = [sys.executable, "-m", "pytest", "-q", "tests/outbox", "--reuse-db"]
        ignored = [f"--ignore=tests/outbox/{name}" for name in _NOT_THERE]
        environment = os.environ | {"TEST_POSTGRES_URL": bouncer.url, "TEST_FAULTS": ""}
        environment.pop("TEST_SHARE", None)  # all of them
        done = subprocess.run(
            [*command, *ignored], env=environment, check=False, capture_output=True, text=True
        )

    assert done.returncode == 0, done.stdout[-4000:]
    evidence.add()
