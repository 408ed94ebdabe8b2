"""
A database that goes away and comes back: killed, restarted, its sessions ended, or gone for long.

In: clients that go on ordering, and workers that nobody restarts. Whatever a client was told, what
stands afterwards is done; a strike costs at most one more call for each worker process.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.faults.evidence import IS_FULL, Evidence
from tests.services import Server
from tests.services.keeper import descendants
from tests.waiting import eventually

from .conftest import needs_a_server
from .project import Project, cpu_seconds

pytestmark = [needs_a_server, pytest.mark.timeout(600 if IS_FULL else 240)]

SLOTS = 2  # worker processes
STRIKES = 12 if IS_FULL else 2
ORDERS = 400 if IS_FULL else 60


def judge(project: Project, evidence: Evidence, *, strikes: int) -> None:
    outcome = project.outcome(within=60)
    assert outcome.extra_calls <= strikes * SLOTS
    evidence.judged(outcome, strikes=strikes)


def said(project: Project) -> int:
    """Lines of the workers' log."""
    return len(project.logged().splitlines())


def strike_often(project: Project, strike: Callable[[int], None]) -> None:
    """While the clients order, every few seconds; work is done between any two strikes."""
    with project.clients(rate=25, count=ORDERS) as clients:
        for number in range(STRIKES):
            project.go_on(random.randint(5, 25))
            strike(number)
        assert clients.wait(120) == 0


@pytest.fixture
def restart(spare_server: Server) -> Callable[[int], None]:
    def strike(number: int) -> None:
        """Killed and restarted in turn: the first leaves its sessions no word of farewell."""
        if number % 2:
            spare_server.stop()
        else:
            spare_server.kill()
        spare_server.start()

    return strike


@pytest.mark.fault("the database restarts every few seconds, effects_worker", rows="D1")
def test_effects_worker_goes_on_through_restarts(make_project, spare_server, restart, evidence):
    """Nobody restarts the workers when a database was restarted."""
    project = make_project(spare_server)

    with project.effects_worker(processes=SLOTS) as worker:
        strike_often(project, restart)
        judge(project, evidence, strikes=STRIKES)
        assert worker.poll() is None

    assert "another takes its place" not in project.logged()
    assert said(project) < 10 * STRIKES * (SLOTS + 1) + 3 * ORDERS  # a run that failed is told, too


@pytest.mark.full
@pytest.mark.fault("the database restarts every few seconds, Celery", rows="D1")
def test_celery_workers_go_on_through_restarts(
    make_project, spare_server, redis_server, restart, evidence
):
    """Neither the pool nor the sweeper beside it is restarted by anybody."""
    redis_server.wipe()
    project = make_project(spare_server)

    with project.worker("celery", redis_server) as worker:
        strike_often(project, restart)
        judge(project, evidence, strikes=STRIKES)
        assert worker.poll() is None

    assert "another takes its place" not in project.logged()
    assert said(project) < 10 * STRIKES * (SLOTS + 1) + 3 * ORDERS  # a run that failed is told, too


@pytest.mark.fault("every session of the workers is ended, again and again", rows="D1")
@pytest.mark.parametrize("kind", [pytest.param("effects_worker", marks=pytest.mark.full), "celery"])
def test_workers_whose_sessions_are_ended_go_on(
    make_project, spare_server, redis_server, evidence, kind
):
    """Poolers, firewalls and administrators end sessions, also idle ones that a worker keeps."""
    redis_server.wipe()
    project = make_project(spare_server)
    strikes = 5 * STRIKES

    with project.worker(kind, redis_server):
        with project.clients(rate=25, count=ORDERS) as clients:
            for _ in range(strikes):
                project.go_on(1)
                end_every_session(project)
            assert clients.wait(60) == 0
        judge(project, evidence, strikes=strikes)


def end_every_session(project: Project) -> None:
    if project.url.startswith("postgres"):
        project.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return
    import MySQLdb  # noqa: PLC0415  # not where another database is tested

    for (session,) in project.ask(
        "SELECT id FROM information_schema.processlist"
        " WHERE db = DATABASE() AND id <> CONNECTION_ID()"
    ):
        with suppress(MySQLdb.OperationalError):  # it has just ended by itself
            project.ask(f"KILL CONNECTION {session}")


@pytest.mark.fault("the database is gone for longer than a lease", rows="D1 D2")
@pytest.mark.parametrize("kind", ["effects_worker", pytest.param("celery", marks=pytest.mark.full)])
def test_an_outage_costs_neither_the_processor_nor_the_log(
    make_project, spare_server, redis_server, evidence, kind
):
    """Ten thousand tracebacks bury the one line that matters, and a busy loop starves the web."""
    redis_server.wipe()
    project = make_project(spare_server)
    outage = 60 if IS_FULL else 5  # seconds

    with project.worker(kind, redis_server) as worker:
        with project.clients(rate=50, count=50) as clients:
            project.go_on(20)
            spare_server.kill()
            clients.wait(60)
        everybody = {worker.pid, *descendants(worker.pid)}
        used, lines = cpu_seconds(everybody), said(project)
        time.sleep(outage)  # what is measured is what they do in that time
        used = cpu_seconds(everybody) - used  # fails where one has ended
        lines = said(project) - lines
        spare_server.start()
        judge(project, evidence, strikes=1)
        heartbeats = "SELECT count(*) FROM reliable_effects_sweep WHERE truncated"
        eventually(lambda: project.ask(heartbeats) == [(0,)], within=30)

    assert used < 0.5 + outage / 10
    assert lines < 30 + outage  # the beginning, and then a few a minute
