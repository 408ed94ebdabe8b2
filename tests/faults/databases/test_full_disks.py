"""
A disk without room: the database refuses what it cannot write, or ends, until there is room again.

In: a small disk of its own for the database, with room, without, and with room again. Who orders
meanwhile is told that it failed, and nothing of that order stands; what was called and could not be
written down is called at most once more.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress

import pytest

from tests.faults.evidence import IS_FULL, Evidence
from tests.services import MariaDB, Server
from tests.waiting import eventually

from .conftest import KIND, SERVERS, postgres_only
from .project import Project

pytestmark = pytest.mark.timeout(240)

FOR = 15 if IS_FULL else 1  # seconds without room


class SmallMariaDB(MariaDB):
    def command(self) -> list[str]:
        return [*super().command(), "--innodb-log-file-size=8M"]


def on_the_disk(disk) -> Server:
    return (SmallMariaDB if KIND == "mariadb" else SERVERS[KIND])(disk.path)


def judge(project: Project, evidence: Evidence, *, strikes: int = 1) -> None:
    outcome = project.outcome(within=90)
    most = max(Counter(call.what for call in project.outside.calls()).values())
    assert most <= 1 + strikes
    evidence.judged(outcome, strikes=strikes)


@pytest.mark.fault("the database's disk is full for a while", rows="D8")
def test_a_full_disk_loses_nothing_and_halves_nothing(make_project, small_disk, evidence):
    """Logs, backups and other tenants fill disks; who makes room restarts no worker."""
    server = None if KIND == "sqlite" else on_the_disk(small_disk).start()
    try:
        project = make_project(server, small_disk.path)
        with project.effects_worker(), project.clients(rate=40, count=120) as clients:
            project.go_on(10)
            small_disk.fill()
            eventually(project.errors, within=30)
            time.sleep(FOR)  # how long it is full; there is nothing to wait for
            small_disk.free()
            if server is not None:
                server.heal()  # as whoever supervises it would
            assert clients.wait(90) == 0
            judge(project, evidence)
    finally:
        if server is not None:
            server.discard()


@postgres_only
@pytest.mark.full
@pytest.mark.fault("PostgreSQL ends, for no room for its write-ahead log", rows="D8 D1")
def test_a_database_that_ends_for_lack_of_room_loses_nothing(make_project, small_disk, evidence):
    """Where the log itself cannot be written there is nothing left to refuse with."""
    import psycopg  # noqa: PLC0415  # not where another database is tested

    server = on_the_disk(small_disk).start()
    try:
        project = make_project(server)
        with project.effects_worker(), project.clients(rate=40, count=160) as clients:
            project.go_on(10)
            small_disk.fill()
            with suppress(psycopg.Error):  # it ends in the middle of it
                for _ in range(20):  # each begins a new file of the log
                    project.ask("SELECT pg_logical_emit_message(true, '', 'x'), pg_switch_wal()")
            eventually(lambda: not server.is_running, within=60)
            small_disk.free()
            server.heal()
            assert clients.wait(90) == 0
            judge(project, evidence)
    finally:
        server.discard()
