"""
The list of deliveries, whatever is chosen: what is rare is not looked for among all that there are.

Far fewer rows are looked through here than a project has; the numbers are set lower for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from reliable_effects.clock import DbNow
from reliable_effects.outbox.admin import filters, looked_through, pages
from reliable_effects.outbox.models import OutboxEvent
from tests.faults.plans.crowd import OLD_QUEUE, POISONED, known_crowd
from tests.faults.plans.touched import touched
from tests.outbox.conftest import make_effect  # noqa: F401  # a fixture

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor == "sqlite", reason="for servers with statistics"),
    pytest.mark.usefixtures("crowd"),
    pytest.mark.fault("200,000 rows ended or lie far ahead, and 10,000 are due", rows="T7"),
]

LIST = "/admin/reliable_effects/delivery/"
NEWEST, OF_STATE = 1000, 200
# Twice (count, page) what is looked through of each of two states, and where it ends.
BOUND = 2 * (NEWEST + 2 * POISONED) + 2 * OF_STATE + 250


@pytest.fixture(scope="module")
def crowd(django_db_setup, django_db_blocker) -> Iterator[None]:  # noqa: ARG001  # there first
    with django_db_blocker.unblock():
        yield from known_crowd()


@pytest.fixture(autouse=True)
def _little_is_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looked_through, "NEWEST", NEWEST)
    monkeypatch.setattr(looked_through, "OF_STATE", OF_STATE)
    monkeypatch.setattr(filters, "_NEWEST_EVENTS", NEWEST)
    monkeypatch.setattr(pages, "COUNT_AT_MOST", OF_STATE)


def read_for(client: Any, query: str) -> int:
    """Rows that the two queries about deliveries read, the count and the page, and the events."""
    with touched() as found:
        page = client.get(LIST + query)
    assert page.status_code == 200
    return found.rows


def test_a_page_reads_its_own_rows_and_their_events(admin_client, evidence):
    """MariaDB read all events, and sorted all deliveries to them, for a page of a hundred."""
    with touched() as found:
        page = admin_client.get(LIST)

    assert page.status_code == 200
    [count] = [statement for statement in found if "COUNT(" in statement.sql]
    assert found.rows - count.rows <= 250, [(s.rows, s.sql) for s in found]  # 101 and 101
    evidence.add()


@pytest.mark.parametrize(
    "query",
    [
        "?effect={rare}",
        f"?queue={OLD_QUEUE}",
        "?state=cancelled",
        "?state=skipped",
        "?reason=EXPIRED",
        "?state=poisoned&effect={rare}",
        f"?state=poisoned&queue={OLD_QUEUE}",
        "?reason=SUBJECT_GONE",
        "?reason=STILL_OWED",
        "?state=waiting&effect={rare}",
        "?due=later&effect={rare}",
        "?due=now&effect={rare}",
        "?state=needs+a+person&effect={rare}",
    ],
)
def test_what_is_rare_is_looked_for_so_far(query, admin_client, make_effect, evidence):  # noqa: F811  # a fixture
    """Nothing matches: without a bound each of these reads 100,000 rows and more, twice."""
    rare = make_effect(lambda *_: None, queue=OLD_QUEUE).name

    rows = read_for(admin_client, query.format(rare=rare))

    assert rows <= BOUND
    evidence.add()


@pytest.mark.skipif(
    connection.vendor == "mysql", reason="it reads by statistics of before the test"
)
def test_an_event_that_is_rare_is_looked_for_so_far(admin_client, evidence):
    """No index has the names of events."""
    # In the crowd all are of one instant.
    newest = OutboxEvent.objects.order_by("-pk")[NEWEST:][0].pk
    OutboxEvent.objects.filter(pk__lte=newest).update(emitted_at=DbNow() - timedelta(days=2))

    with touched() as found:
        page = admin_client.get("/admin/reliable_effects/outboxevent/?name=shop.crate_left")

    assert page.status_code == 200
    assert found.rows <= 3 * NEWEST + 10  # where it ends, the count and the page
    evidence.add()
