"""
An old snapshot keeps every dead row: what is hot does not wade through them.

A backup, or an analyst's session, that has been open for an hour. What was due meanwhile and is done
stays in the index as dead entries, in front of what is due now; nobody may clean them away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from django.db import connection, transaction

from reliable_effects.outbox import low_water
from reliable_effects.outbox.claim import claim, look
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.relay import take, waiting_queues
from reliable_effects.outbox.states import State
from tests.outbox.conftest import an_event, pending_delivery

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="dead entries are PostgreSQL's"),
    pytest.mark.fault("an old snapshot keeps 30,000 dead rows", rows="D12"),
]

_DELIVERY = Delivery._meta.db_table
_DEAD = 30_000
_A_PAGE_EACH = 12  # of 8 KiB for each row: index levels, table, and those of its update


@pytest.fixture
def old_snapshot() -> Iterator[None]:
    """Somebody else's transaction that sees the tables as they are now, until the test ends."""
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            cursor.execute(f"SELECT count(*) FROM {_DELIVERY}")
        yield
    finally:
        other.close()


@pytest.fixture(autouse=True)
def _no_marks() -> Iterator[None]:
    low_water.forget()
    yield
    low_water.forget()


def pages(work: Callable[[], Any]) -> int:
    """How many pages the statements of *work* touch, each run once more to be explained."""
    seen = 0

    def watching(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any):
        nonlocal seen
        if _DELIVERY not in sql:
            return execute(sql, params, many, context)
        cursor = connection.connection.cursor()
        cursor.execute("SAVEPOINT looking")
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", params)
        ((plan,),) = cursor.fetchall()
        cursor.execute("ROLLBACK TO SAVEPOINT looking; RELEASE SAVEPOINT looking")
        top = plan[0]["Plan"]
        seen += top["Shared Hit Blocks"] + top["Shared Read Blocks"]
        return execute(sql, params, many, context)

    with transaction.atomic(), connection.execute_wrapper(watching):
        work()
    assert seen
    return seen


def _churn(event: OutboxEvent) -> None:
    """So many were due, and are done: dead index entries that lie in front."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""INSERT INTO {_DELIVERY} (event_id, effect, key, generation, queue, state, reason,
                due_at, look_at, hints, attempts, worker, flags)
            SELECT %s, 'shop.wrap', gen_random_uuid(), 0, 'effects', {State.PENDING:d}, '',
                now() - interval '1 hour', now() - interval '1 hour', 0, 0, '', 0
            FROM generate_series(1, {_DEAD})""",
            [event.pk],
        )
        cursor.execute(
            f"UPDATE {_DELIVERY} SET state = {State.SUCCEEDED:d}, look_at = NULL,"
            " finished_at = now(), attempts = 1"
        )


@pytest.mark.usefixtures("old_snapshot")
def test_a_claim_reads_its_own_rows_however_many_are_dead(evidence):
    """It goes by id, and no dead row is on the way."""
    _churn(an_event())
    seen = look("default", [pending_delivery().pk for _ in range(50)])

    claimed = []
    read = pages(lambda: claimed.extend(claim(seen, group=True)))

    assert len(claimed) == 50
    assert read < 50 * 2 * _A_PAGE_EACH
    evidence.add()


@pytest.mark.usefixtures("old_snapshot")
def test_the_relay_wades_through_the_dead_once_not_at_each_turn(evidence):
    """It begins where it ended, for half a minute."""
    _churn(an_event())
    ids = [pending_delivery().pk for _ in range(200)]

    taken = []
    first = pages(lambda: taken.extend(take("default", "effects", 50)))
    others = [pages(lambda: taken.extend(take("default", "effects", 50))) for _ in range(3)]

    assert first > _DEAD / 50, "nothing dead was in the way"
    assert max(others) < 50 * 2 * _A_PAGE_EACH
    assert [row.id for row in taken] == ids
    evidence.add()


@pytest.mark.usefixtures("old_snapshot")
def test_a_worker_that_is_never_behind_does_not_wade_each_time(evidence, monkeypatch):
    """It finds one or two rows whenever it looks, and what is done since stays behind its mark."""
    monkeypatch.setattr(low_water, "_CHEAP", 0.0)
    monkeypatch.setattr(low_water, "monotonic", count(step=1e-6).__next__)  # hardly any time
    _churn(an_event())

    read, ids, taken = [], [], []
    for _ in range(4):
        ids.append(pending_delivery().pk)
        read.append(pages(lambda: taken.extend(take("default", "effects", 50))))
    asked = [
        pages(lambda: low_water.queues("me", lambda: list(waiting_queues("default")))),
        low_water.queues("me", lambda: pytest.fail("it has just been asked")),
    ]

    assert read[0] > _DEAD / 100, "nothing dead was in the way"
    assert max(read[1:]) < 2 * _A_PAGE_EACH
    assert asked[0] > _DEAD / 100
    assert [row.id for row in taken] == ids
    evidence.add()
