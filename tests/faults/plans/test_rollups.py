"""
Counting what happened touches what happened: of 200,000 rows that ended or lie far ahead, none.

Beside the other plans, with the same two crowds.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from reliable_effects.console.rollups.models import EffectRollup, RollupCursor
from reliable_effects.console.rollups.sweep import rollup
from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent
from reliable_effects.outbox.states import State
from tests.faults.plans.crowd import DUE, POISONED, QUEUES, known_crowd, surprising_crowd
from tests.faults.plans.touched import Touched, touched

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor == "sqlite", reason="for servers with statistics"),
    pytest.mark.usefixtures("crowd"),
]

IS_POSTGRES = connection.vendor == "postgresql"
PRIMARY = "reliable_effects_delivery_pkey" if IS_POSTGRES else "PRIMARY"
ATTEMPT = "reliable_effects_attempt_pkey" if IS_POSTGRES else "PRIMARY"
FINISHED, EMITTED, OF_EVENT = (
    "re_delivery_finished",
    "re_event_emitted_at",
    "reliable_effects_delivery_event_id_1f06a349",
)
COUNTED = 5000  # attempts; of a few PostgreSQL reads the table
EACH = 20  # things that happened since the last sweep


@pytest.fixture(scope="module", params=[known_crowd, surprising_crowd])
def crowd(request, django_db_setup, django_db_blocker) -> Iterator[None]:  # noqa: ARG001  # there first
    with django_db_blocker.unblock():
        yield from request.param()


@pytest.fixture
def happened() -> None:
    """Of everything a little, ten minutes ago; what was before is counted."""
    then = timezone.now() - timedelta(minutes=10)
    Attempt.objects.bulk_create(
        Attempt(delivery_id=n, number=1, outcome=Attempt.Outcome.FAILED, ended_at=then)
        for n in range(1, COUNTED + 1)
    )
    last = Attempt.objects.latest("pk").pk
    if IS_POSTGRES:  # on MariaDB it would commit
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {Attempt._meta.db_table}")
    places = dict.fromkeys(("began_at", "emitted_to", "ended_to", "failed_to"), then)
    RollupCursor.objects.create(**places, attempt=last)
    ids = list(
        Delivery.objects.filter(queue=QUEUES[1])
        .exclude(state=State.RUNNING)
        .order_by("pk")
        .values_list("pk", "event_id")[: 2 * EACH]
    )
    Delivery.objects.filter(pk__in=[pk for pk, _ in ids[:EACH]]).update(
        state=State.SUCCEEDED, look_at=None, finished_at=then
    )
    OutboxEvent.objects.filter(pk__in=[event for _, event in ids[EACH:]]).update(emitted_at=then)
    Attempt.objects.bulk_create(
        Attempt(delivery_id=pk, number=1, outcome=Attempt.Outcome.FAILED, ended_at=then)
        for pk, _ in ids[EACH:]
    )


def about(found: Touched, *tables: str) -> Touched:
    """The statements that begin with one of *tables*, but those that look how a queue stands."""
    of = [f"FROM {connection.ops.quote_name(f'reliable_effects_{table}')}" for table in tables]
    return Touched(statement for statement in found if any(each in statement.sql for each in of))


@pytest.mark.usefixtures("happened")
def test_a_slice_reads_its_own_rows_through_its_own_index():
    """What ended, what was emitted and what failed, each from where the last sweep stopped."""
    with touched() as found:
        rollup("default")

    row = EffectRollup.objects.get()
    assert row.succeeded == row.failed == EACH
    assert row.emitted >= EACH  # deliveries: the crowd's events have one for today and one for then
    ended = Touched(s for s in about(found, "delivery") if "finished_at" in s.sql)
    emitted = Touched(s for s in found if "emitted_at" in s.sql)
    attempts = about(found, "attempt")
    assert ended.indexes <= {FINISHED}, [s.plan for s in ended]
    assert emitted.indexes <= {EMITTED, OF_EVENT}, [s.plan for s in emitted]
    assert attempts.indexes <= {ATTEMPT, PRIMARY}, [s.plan for s in attempts]
    # MariaDB's index is not partial: what was poisoned meanwhile lies between.
    assert ended.rows <= 5 * EACH + (0 if IS_POSTGRES else 3 * POISONED)
    assert emitted.rows <= 5 * EACH + row.emitted
    assert attempts.rows <= 5 * EACH


@pytest.mark.usefixtures("happened")
def test_a_look_at_the_queues_reads_what_is_due_and_no_more():
    """Not what lies far ahead, nor what has ended."""
    with touched() as found:
        rollup("default")

    looks = Touched(s for s in about(found, "delivery") if "finished_at" not in s.sql)
    assert not {index for index in looks.indexes if index.startswith("ALL OF")}
    assert looks.rows <= 3 * DUE
