"""
Fewer connections than there are workers: a small pool of Django's, a server with room for ten.

Whoever gets none waits or tries again; nobody holds what others need, and nothing is lost.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections

from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from tests.conftest import _served
from tests.faults.place.aliases import Config, at, elsewhere, like_default, made, only_on_postgres
from tests.faults.place.effects import promise, ring, ring_harmlessly
from tests.services import Postgres
from tests.waiting import eventually

pytestmark = only_on_postgres

BROKEN = re.compile(
    r"PoolTimeout|lost synchronization|connection is closed|already closed|SSL error"
)


def all_succeeded(using: str = "default") -> bool:
    return not Delivery.objects.using(using).exclude(state=State.SUCCEEDED).exists()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def pooled() -> Config:
    pytest.importorskip("psycopg_pool", reason="service: psycopg[pool] is not installed")
    return like_default(OPTIONS={"pool": {"min_size": 1, "max_size": 2, "timeout": 5}})


@pytest.mark.django_db(transaction=True)
@pytest.mark.fault("a pool of two connections in processes that fork", rows="D7")
def test_a_child_that_takes_anothers_place_inherits_no_pool(
    pooled, outside, effects_worker, tmp_path, evidence
):
    """The threads that tend a pool stay in the parent, and its connections are the parent's."""
    committed = promise(ring, 20)
    with effects_worker(**elsewhere(pooled)) as worker:
        for _ in range(3):
            committed += promise(ring_harmlessly, 10)
            eventually(all_succeeded, within=30)
            old = children(worker.pid)
            os.kill(old[0], signal.SIGKILL)
            eventually(lambda old=old: old[0] not in children(worker.pid), within=20)
            eventually(lambda: len(children(worker.pid)) == 3, within=20)  # one sweeps
            evidence.add()
        committed += promise(ring, 40)
        eventually(all_succeeded, within=30)

    verdict = outside.judge(committed)
    evidence.judged(verdict)
    assert not BROKEN.findall((tmp_path / "worker.log").read_text())
    assert verdict.extra_runs == 0


@pytest.mark.parametrize(
    ("pool", "slots"), [("threads", 8), pytest.param("prefork", 2, marks=pytest.mark.full)]
)
@pytest.mark.django_db(transaction=True)
@pytest.mark.fault("a pool of two connections and more threads than that", rows="D7")
def test_nobody_keeps_what_the_pool_has_lent(  # noqa: PLR0917  # fixtures
    pool, slots, pooled, redis_server, outside, celery_worker, tmp_path, evidence
):
    """A connection that is kept from task to task is missing for all other threads."""
    redis_server.wipe()
    committed = promise(ring, 60)
    with celery_worker("pooled", redis_server.url, pool=pool, slots=slots, **elsewhere(pooled)):
        eventually(all_succeeded, within=60)
        committed += promise(ring, 60)
        eventually(all_succeeded, within=30)

    verdict = outside.judge(committed)
    evidence.judged(verdict, strikes=120)
    assert not BROKEN.findall((tmp_path / "pooled.log").read_text())
    assert verdict.extra_runs == 0


class NarrowPostgres(Postgres):
    def command(self) -> list[str]:
        return [*super().command(), "--max_connections=10", "--max_wal_senders=0"]


@pytest.fixture(scope="module")
def narrow() -> Iterator[NarrowPostgres]:
    yield from _served(lambda: NarrowPostgres().start())


@pytest.mark.usefixtures("unblocked")
@pytest.mark.fault("20 workers and a server with room for 10 connections", rows="D7")
def test_twenty_workers_share_ten_connections(narrow, outside, effects_worker, tmp_path, evidence):
    """Those that get none try again, twice a second, and none of them ends."""
    config = at(narrow.url, "narrow")
    with made("narrow", config) as alias:
        committed = promise(ring, 100, using=alias)
        with effects_worker(processes=20, **elsewhere(config)) as worker:
            eventually(lambda: all_succeeded(alias), within=60)
            crew = children(worker.pid)
            log = eventually(
                lambda: re.findall(
                    r"too many clients|reserved for", (tmp_path / "worker.log").read_text()
                ),
                within=20,
            )
            committed += promise(ring, 50, using=alias)
            eventually(lambda: all_succeeded(alias), within=60)
            assert children(worker.pid) == crew
        connections[alias].close()

    verdict = outside.judge(committed)
    evidence.judged(verdict, strikes=len(log))
    assert verdict.extra_runs == 0
