"""
A person's transaction that stays open, with our rows locked, and the project's own time limits.

In: rows that wait and one that runs, locked by a forgotten psql. Whoever meets one of them leaves
it; emitting, workers and sweeps go on with all the others, and nothing is held against a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from reliable_effects.outbox.states import State
from tests.waiting import eventually

from .conftest import KIND, needs_a_server
from .project import Project, connect

pytestmark = [needs_a_server, pytest.mark.timeout(240)]

LIMITS = {
    "postgres": {"options": "-c statement_timeout=500ms -c lock_timeout=200ms"},
    "mariadb": {"init_command": "SET innodb_lock_wait_timeout=1, max_statement_time=2"},
}


@contextmanager
def forgotten_transaction(project: Project, condition: str, at_most: int) -> Iterator[set[int]]:
    """Holds some deliveries; their ids."""
    found = project.ask(
        f"SELECT id FROM reliable_effects_delivery WHERE {condition} ORDER BY id LIMIT {at_most}"
    )
    ids = {pk for (pk,) in found}
    with closing(connect(project.url)) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("BEGIN")
        for pk in ids:  # each by its key: MariaDB would lock whatever it reads on the way
            cursor.execute(
                f"SELECT state FROM reliable_effects_delivery WHERE id = {pk} FOR UPDATE"
            )
        yield ids
        connection.rollback()


@pytest.mark.fault("a forgotten transaction locks deliveries", rows="D6")
@pytest.mark.parametrize("limits", [True, pytest.param(False, marks=pytest.mark.full)])
@pytest.mark.parametrize("kind", [pytest.param("effects_worker", marks=pytest.mark.full), "celery"])
def test_all_other_rows_go_on(  # noqa: PLR0917  # fixtures
    make_project, spare_server, redis_server, evidence, kind, limits
):
    """Rule 7: one bad row stops nobody else's."""
    redis_server.wipe()
    project = make_project(spare_server, **(LIMITS[KIND] if limits else {}))
    if kind == "celery":
        project.use(redis_server)  # its clients come before its worker
    with project.clients(rate=50, count=10, name="first") as clients:
        assert clients.wait(30) == 0
    waiting = f"state = {State.PENDING}"

    with (
        forgotten_transaction(project, waiting, 9) as held,
        project.worker(kind, redis_server),
    ):
        with project.clients(rate=30, count=60) as clients:
            assert clients.wait(60) == 0
        eventually(lambda: unfinished(project) == held, within=30)
        last_sweep = swept_at(project)
        eventually(lambda: swept_at(project) > last_sweep, within=30)
        assert len(held) == 9
    with project.effects_worker():
        outcome = project.outcome(within=60)

    assert not project.errors()
    assert outcome.extra_runs == 0
    evidence.judged(outcome, strikes=len(held))  # fmt: skip


def unfinished(project: Project) -> set[int]:
    rows = f"SELECT id FROM reliable_effects_delivery WHERE state <> {State.SUCCEEDED}"
    return {pk for (pk,) in project.ask(rows)}


def swept_at(project: Project) -> list:
    """When each sweep last came to its end."""
    return project.ask("SELECT min(ran_at) FROM reliable_effects_sweep WHERE name = 'rescue'")


@pytest.mark.full
@pytest.mark.fault("a forgotten transaction locks a delivery that runs", rows="D6")
def test_a_result_waits_for_the_lock_and_others_do_not(make_project, spare_server, evidence):
    """The slot that wants to write the result waits, within its lease; the other slot works."""
    project = make_project(spare_server, **LIMITS[KIND])
    project.environment["FAULTS_CALL_TAKES"] = "0.5"

    with project.effects_worker(), project.clients(rate=20, count=20) as clients:
        running = f"state = {State.RUNNING} AND effect = 'databases.call'"
        eventually(lambda: project.states().get("RUNNING"), within=30)
        while True:
            with forgotten_transaction(project, running, 1) as held:
                if held:
                    project.go_on(8)
                    break
        assert clients.wait(60) == 0
        outcome = project.outcome(within=60)

    assert not project.errors()
    assert outcome.extra_calls <= 1
    evidence.judged(outcome)
