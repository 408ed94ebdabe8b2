"""A million pills among ten million deliveries: what a sweep reads of them."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest
from django.db import connection

from reliable_effects.clock import read_clock
from reliable_effects.console.groups import counting, grouping
from reliable_effects.console.groups.models import MOST_PILLS, FailureGroup
from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.states import Reason, State
from tests.console.groups.conftest import REFUSED, TIMED_OUT, grouped

pytestmark = pytest.mark.django_db(
    transaction=True
)  # VACUUM, and MariaDB's ANALYZE, want to commit

FORMAT = "JSON" if connection.vendor == "mysql" else None
INDEX_ONLY = {
    "postgresql": ["Index Only Scan using re_delivery_group"],
    "mysql": ['"key": "re_delivery_group"', '"using_index": true'],
    "sqlite": ["USING COVERING INDEX re_delivery_group (fingerprint=? AND state=?"],
}[connection.vendor]


def deliveries(number: int, **columns) -> None:
    now = read_clock("default")
    # No column is left to the database: that costs a millisecond a row.
    common = {"effect": "shop.wrap", "queue": "effects", "due_at": now, "finished_at": now}
    common |= {"fingerprint": "", **columns}
    rows = (Delivery(event_id=uuid4(), key=uuid4(), **common) for _ in range(number))
    Delivery.objects.bulk_create(rows, batch_size=2000)


def analyse() -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            cursor.execute(f"ANALYZE TABLE {Delivery._meta.db_table}")
            cursor.fetchall()
        else:
            cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")


def copy_until(number: int) -> None:
    """As many pills as that, each with an attempt; half of them of one kind."""
    table, attempts = Delivery._meta.db_table, Attempt._meta.db_table
    columns = "event_id, effect, generation, queue, state, reason, due_at, hints, attempts, worker"
    columns += ", finished_at, flags"
    missing = number - Delivery.objects.count()
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (key, {columns}) SELECT gen_random_uuid(), {columns}"
            f" FROM (SELECT * FROM {table} LIMIT 1) one, generate_series(1, {missing})"
        )
        cursor.execute(
            f"INSERT INTO {attempts} (delivery_id, number, outcome, exception_type, message,"
            " traceback, fingerprint, host, release)"
            " SELECT id, 8, 'failed', 'shop.Refused', repeat('no', 500), repeat('tb', 2000),"
            f" CASE id %% 2 WHEN 0 THEN %s ELSE %s END, 'host:1', 'v1' FROM {table}",
            [REFUSED, TIMED_OUT],
        )


@pytest.fixture
def crowd() -> None:
    deliveries(4000, state=State.SUCCEEDED)
    deliveries(3000, state=State.POISONED, reason=Reason.REFUSED, fingerprint=REFUSED)
    deliveries(20, state=State.POISONED, reason=Reason.REFUSED)
    analyse()


@pytest.mark.usefixtures("crowd")
def test_what_has_no_group_is_found_in_the_index_alone():
    """Twice a minute, and most of the time there is nothing."""
    rows = grouping.ungrouped("default").filter(pk__gt=0)

    plan = rows[: grouping._BATCH].explain(format=FORMAT).replace("\\", "")

    assert rows.count() == 20
    for told in INDEX_ONLY:
        assert told in plan


@pytest.mark.usefixtures("crowd")
def test_a_group_is_counted_in_the_index_alone():
    """A wide row is never touched for it."""
    rows = counting.pills_of("default", REFUSED)

    plan = rows.order_by().values("pk")[:MOST_PILLS].explain(format=FORMAT).replace("\\", "")

    for told in INDEX_ONLY:
        assert told in plan


@pytest.mark.skipif(connection.vendor != "postgresql", reason="the one to be fast on")
def test_forty_thousand_pills_are_grouped_in_bounded_turns():
    """After an outage of a partner, while the relay waits in the same thread."""
    deliveries(2, state=State.POISONED, reason=Reason.ATTEMPTS_SPENT)
    copy_until(40_000)

    turns = []
    while True:
        begun = time.monotonic()
        swept = grouped()
        turns.append((round(time.monotonic() - begun, 1), swept.done))
        assert len(turns) < 60, turns
        if not swept.truncated:
            break

    assert sum(done for _, done in turns) == 40_000
    assert max(seconds for seconds, _ in turns) < 10, turns  # 3 s of its own, on a busy machine
    assert [(g.pills, g.total) for g in FailureGroup.objects.all()] == [(20_000, 20_000)] * 2
