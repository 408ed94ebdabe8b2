"""
A database that only reads for a while, as the one that was the primary until a moment ago.

Connections stay, and questions are answered; every write is refused. Nothing that is so refused may
count against an effect.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.evidence import IS_FULL
from tests.services import Server
from tests.waiting import eventually

from .conftest import KIND, as_admin, needs_a_server

pytestmark = [needs_a_server, pytest.mark.timeout(240)]

FOR = 30 if IS_FULL else 3  # seconds; longer than a worker asks again


@contextmanager
def read_only(server: Server) -> Iterator[None]:
    if KIND == "mariadb":
        switch = "SET GLOBAL read_only = {}"
    else:
        switch = "ALTER SYSTEM SET default_transaction_read_only = {}"
    reload = () if KIND == "mariadb" else ("SELECT pg_reload_conf()",)
    as_admin(server, switch.format(1), *reload)
    try:
        yield
    finally:
        as_admin(server, switch.format(0), *reload)


@pytest.mark.fault("the database only reads for a while", rows="D3")
@pytest.mark.parametrize("kind", ["effects_worker", pytest.param("celery", marks=pytest.mark.full)])
def test_what_could_not_be_written_is_written_later(
    make_project, spare_server, redis_server, evidence, kind
):
    """A failover takes a minute, in which each connection leads to a server that refuses."""
    redis_server.wipe()
    project = make_project(spare_server)

    with project.worker(kind, redis_server) as worker:
        # For longer than a worker takes to start: they are to meet the refusal too.
        with project.clients(rate=30, count=90 if kind == "effects_worker" else 400) as clients:
            project.go_on(10)
            with read_only(spare_server):
                eventually(project.errors, within=30)
                time.sleep(FOR)  # how long it only reads; there is nothing to wait for
            assert clients.wait(90) == 0
        outcome = project.outcome(within=60)
        assert worker.poll() is None

    assert outcome.extra_calls <= 2  # one for each worker process
    assert "another takes its place" not in project.logged()
    assert len(project.logged().splitlines()) < 200  # a storm has thousands
    evidence.judged(outcome)
