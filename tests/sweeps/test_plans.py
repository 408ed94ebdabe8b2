"""On PostgreSQL the sweeps touch what is due, however much has ended or lies far ahead."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.prune import prune
from reliable_effects.outbox.relay import relay, take, waiting_queues
from reliable_effects.outbox.rescue import rescue
from reliable_effects.outbox.states import State

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        os.environ.get("TEST_DATABASE") != "postgres", reason="plans are PostgreSQL's"
    ),
]

TABLE = "reliable_effects_delivery"


@pytest.fixture(autouse=True)
def _crowd(_transport) -> None:
    """20,000 that have ended, as many for tomorrow, 1,000 that are due, and 400 that died."""
    events = """
        INSERT INTO reliable_effects_outboxevent (id, name, version, subject_model, subject_pk,
            payload, correlation, trace_id, source, emitted_at)
        SELECT lpad(to_hex(n), 32, '0')::uuid, 'shop.wrap', 1, '', '', '{}', gen_random_uuid(), '',
            'emit', now() FROM generate_series(1, 20000) n"""
    rows = """
        INSERT INTO reliable_effects_delivery (event_id, effect, key, generation, queue, state,
            reason, due_at, look_at, hints, attempts, claim_token, lease_expires_at, worker,
            finished_at, flags)
        SELECT lpad(to_hex(n), 32, '0')::uuid, 'shop.wrap', gen_random_uuid(), 0, 'queue-' || n % 3, {state},
            '', {due}, {look}, 0, 0, {token}, {lease}, '', {finished}, 0
        FROM generate_series(1, {count}) n"""
    nothing = dict.fromkeys(("look", "token", "lease", "finished"), "NULL")
    done = {"state": State.SUCCEEDED, "due": "now()", "finished": "now() - n * interval '1 s'"}
    ahead = dict.fromkeys(("due", "look"), "now() + interval '1 day' + n * interval '1 s'")
    due = dict.fromkeys(("due", "look"), "now() - n * interval '1 s'")
    dead = {"state": State.RUNNING, "due": "now()", "token": "n", "lease": "now()"}
    with connection.cursor() as cursor:
        cursor.execute(events)
        for count, columns in (
            (20_000, done),
            (20_000, {"state": State.PENDING, **ahead}),
            (1_000, {"state": State.PENDING, **due}),
            (400, dead),
        ):
            cursor.execute(rows.format(**nothing | columns, count=count))
        cursor.execute(f"ANALYZE {TABLE}, reliable_effects_outboxevent")


def plans(work: Callable[[], object], *, beginning: str = "SELECT") -> list[str]:
    """How PostgreSQL runs each statement of *work* about deliveries."""
    with CaptureQueriesContext(connection) as queries:
        work()
    found = []
    with connection.cursor() as cursor:
        for query in queries:
            sql = query["sql"]
            if TABLE in sql and sql.startswith(beginning):
                cursor.execute(f"EXPLAIN {sql}")
                found.append("\n".join(line for (line,) in cursor.fetchall()))
    assert found
    return found


def indexes(plan: str) -> set[str]:
    assert "Seq Scan" not in plan, plan
    return set(re.findall(r"(re_delivery_\w+|\w+_pkey|\w+_key)", plan))


def test_relay_takes_what_is_due_by_its_time():
    """20,000 snoozed rows do not lie in front, and nothing is sorted."""
    [select] = plans(lambda: take("default", "queue-1", 50))

    assert indexes(select) == {"re_delivery_look"}
    assert "Sort" not in select


def test_relay_marks_by_number():
    """It has just read them."""
    [update] = plans(lambda: take("default", "queue-1", 50), beginning="UPDATE")

    assert indexes(update) == {"reliable_effects_delivery_pkey"}


def test_the_waiting_queues_cost_one_probe_each():
    """Not a look at each row that waits."""
    found = plans(lambda: list(waiting_queues("default")))

    assert len(found) == 4
    for plan in found:
        assert indexes(plan) == {"re_delivery_look"}
        assert "Sort" not in plan


def test_a_whole_relay_reads_no_table_through():
    """Neither for the budget, nor to see who consumes."""
    for plan in plans(lambda: relay("default")):
        assert indexes(plan) <= {"re_delivery_look", "re_delivery_due"}


def test_rescue_reads_what_runs():
    """A few hundred at most, however many have ended."""
    found = plans(lambda: rescue("default", Turn(None)))

    assert any("re_delivery_aside" in indexes(plan) for plan in found)
    for plan in found:  # each is then locked by its id
        assert indexes(plan) <= {"re_delivery_aside", "reliable_effects_delivery_pkey"}


def test_prune_goes_by_the_end(settings):
    """Oldest first, and each batch where the last one ended."""
    settings.RELIABLE_EFFECTS |= {"RETENTION": timedelta(hours=5)}

    found = plans(lambda: prune("default"))

    batches = [plan for plan in found if "Limit" in plan and "re_delivery_finished" in plan]
    assert len(batches) >= 3
    for plan in batches:
        assert indexes(plan) <= {"re_delivery_finished", "reliable_effects_outboxevent_pkey"}


def test_the_oldest_due_is_the_first_of_an_index():
    """Alarms and back pressure ask for it all the time."""
    oldest = Delivery.objects.due().order_by("due_at")
    found = plans(lambda: oldest.values_list("due_at", flat=True).first())

    [plan] = found
    assert indexes(plan) <= {"re_delivery_due", "re_delivery_look"}
