"""
Statements that go by id use the primary key, whatever the planner believes.

After an ANALYZE with nothing pending PostgreSQL expects the partial indexes to be empty, and walks
the whole of one when they are not (measured: 6 ms against 1).
"""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.dispatch import put_back
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.pace import pace
from reliable_effects.outbox.states import State
from tests.outbox.conftest import an_event

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's planner"),
]

TABLE = Delivery._meta.db_table
FINISHED, BURST = 5_000, 2_000
PARTIAL = [index.name for index in Delivery._meta.indexes if index.condition is not None]


@pytest.fixture
def burst(make_effect):
    """Many rows that ended, statistics that know of no other, then many at once that wait."""

    def make(**options) -> list[int]:
        effect = make_effect(lambda *_: None, **options)
        pace.note(effect.name, 0.0)
        event = an_event()
        _rows(event, FINISHED, effect.name, State.SUCCEEDED)
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {TABLE}, {OutboxEvent._meta.db_table}")
        return _rows(event, BURST, effect.name, State.PENDING)

    return make


@pytest.mark.parametrize(
    "options", [{}, {"harmless_to_repeat": True}, {"verify": lambda *_: True}], ids=str
)
def test_every_statement_about_known_rows_goes_by_the_primary_key(options, burst):
    """Of the 50 rows of a hint, not of the 2,000 that wait."""
    ids = burst(**options)

    with CaptureQueriesContext(connection) as queries:
        deliver("default", ids[:20])
    statements = [q["sql"] for q in queries if TABLE in q["sql"]]

    assert Delivery.objects.filter(pk__in=ids[:20], state=State.SUCCEEDED).exists()
    assert len(statements) >= 3
    for statement in statements:
        plan = _plan(statement)
        assert "reliable_effects_delivery_pkey" in plan, (statement, plan)
        assert not [name for name in PARTIAL if name in plan], (statement, plan)
        assert "Seq Scan on reliable_effects_delivery" not in plan, (statement, plan)


def test_what_could_not_be_hinted_is_put_back_by_the_primary_key(burst):
    """The broker fails when there is most to say."""
    ids = burst()
    Delivery.objects.filter(pk__in=ids).update(hints=1)

    with CaptureQueriesContext(connection) as queries:
        put_back("default", ids[:50])

    statements = [q["sql"] for q in queries if TABLE in q["sql"]]
    assert len(statements) == 2
    for statement in statements:
        plan = _plan(statement)
        assert "reliable_effects_delivery_pkey" in plan, (statement, plan)


def test_a_failed_attempt_is_written_by_the_primary_key(burst, make_effect):
    """An outage of a partner fails everything that waits."""
    ids = burst()
    failing = make_effect(lambda *_: 1 / 0)
    Delivery.objects.filter(pk__in=ids[:5]).update(effect=failing.name)

    with CaptureQueriesContext(connection) as queries:
        deliver("default", ids[:1])

    updates = [q["sql"] for q in queries if q["sql"].startswith(f'UPDATE "{TABLE}"')]
    assert updates
    for update in updates:
        plan = _plan(update)
        assert "reliable_effects_delivery_pkey" in plan, (update, plan)


def _plan(statement: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + statement.replace("%", "%%"), ())
        return "\n".join(line for (line,) in cursor.fetchall())


def _rows(event: OutboxEvent, count: int, effect: str, state: State) -> list[int]:
    waits = state == State.PENDING
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO {TABLE} (event_id, effect, key, generation, queue, state, reason, due_at,
                look_at, hints, attempts, worker, finished_at, flags)
            SELECT %s, %s, gen_random_uuid(), 0, 'effects', {state}, '', now(),
                {"now()" if waits else "NULL"}, 0, 0, '', {"NULL" if waits else "now()"}, 0
            FROM generate_series(1, %s) RETURNING id""",
            [event.pk, effect, count],
        )
        return [pk for (pk,) in cursor.fetchall()]
