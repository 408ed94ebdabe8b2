"""What waits is counted cheaply, within bounds, and without harm to who asks."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from reliable_effects.clock import DbNow
from reliable_effects.outbox.models import Delivery, Sweep
from reliable_effects.outbox.states import State
from reliable_effects.watch import pressure as pressures
from reliable_effects.watch.pressure import Pressure, asked, drain, pressure
from tests.shop.models import Order

from .conftest import MINUTE, backlog, finish

NEEDS_TIME_LIMIT = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="there the count is the only bound"
)


@pytest.mark.django_db
def test_a_count_ends_where_it_is_told_to():
    """A hundred thousand cost what a hundred cost."""
    backlog(5, age=3 * MINUTE)

    assert pressure("default", "payments", 3).read().due == 3
    assert pressure("default", "payments", 9).read().due == 5


@pytest.mark.django_db
def test_only_what_a_worker_may_claim_now_counts():
    """Retries of later, what runs, has ended, waits for a person, or stands in another line."""
    backlog(1, age=2 * MINUTE)
    backlog(1, age=-2 * MINUTE)  # later, and within reach of the relay
    backlog(1, queue="effects", age=9 * MINUTE)
    backlog(1, age=9 * MINUTE, state=State.SUCCEEDED, look_at=None)
    backlog(1, age=9 * MINUTE, state=State.UNCERTAIN, look_at=None)
    backlog(1, age=3 * MINUTE, state=State.UNCERTAIN)  # to be asked after

    seen = pressure("default", "payments", 100).read()

    assert seen.due == 2
    assert 3 * MINUTE <= seen.oldest < 4 * MINUTE


@pytest.mark.django_db
def test_what_the_relay_has_hinted_is_as_old_as_it_is():
    """Its look_at has moved on; since when it is due has not."""
    backlog(1, age=30 * MINUTE, look_at=DbNow() + 9 * MINUTE, hints=5)
    backlog(3)

    assert pressure("default", "payments", 100).read().oldest >= 30 * MINUTE


@pytest.mark.django_db
def test_an_empty_queue_has_no_oldest():
    assert pressure("default", "payments", 100).read() == Pressure(0, None)


@pytest.mark.django_db
def test_a_process_looks_once_in_two_seconds():
    """Whatever comes in."""
    gauge = pressure("default", "payments", 100)
    gauge.read()
    backlog(1)

    with CaptureQueriesContext(connection) as queries:
        seen = [gauge.read().due for _ in range(100)]

    assert set(seen) == {0}
    assert len(queries) == 0


@pytest.mark.django_db
def test_a_look_is_one_query_with_its_limit():
    """PostgreSQL needs a savepoint around its own."""
    gauge = pressure("default", "payments", 100)

    with CaptureQueriesContext(connection) as queries:
        gauge.read()

    expected = {"postgresql": 5, "mysql": 1, "sqlite": 1}
    assert len(queries) == expected[connection.vendor]


@pytest.mark.django_db
def test_the_rate_is_that_of_what_ended_lately_in_this_queue():
    """Thirty in a minute."""
    backlog(40)
    finish(30)
    backlog(50, queue="effects", state=State.SUCCEEDED, look_at=None, finished_at=DbNow())
    backlog(9, state=State.SUCCEEDED, look_at=None, finished_at=DbNow() - 2 * MINUTE)
    backlog(7, age=10 * MINUTE)

    seen = drain("default", "payments", 5 * MINUTE).read()

    assert (seen.due, seen.late, seen.rate) == (17, 7, 0.5)


@pytest.mark.django_db
def test_where_much_ends_the_rate_is_that_of_the_newest(monkeypatch):
    """The sample ends at a thousand rows, which may be two seconds."""
    monkeypatch.setattr(pressures, "_NEWEST", 20)
    backlog(15, state=State.SUCCEEDED, look_at=None, finished_at=DbNow() - timedelta(seconds=10))
    backlog(15, queue="effects", state=State.SUCCEEDED, look_at=None, finished_at=DbNow())

    rate = drain("default", "payments", MINUTE).read().rate

    assert 0.3 < rate <= 0.5  # 5 of the newest 20, which began ten seconds ago


@pytest.mark.django_db
def test_a_busier_queue_does_not_hide_the_rate():
    """A thousand mails have just gone out; payments went on before them."""
    backlog(1000, queue="effects", state=State.SUCCEEDED, look_at=None, finished_at=DbNow())
    backlog(30, state=State.SUCCEEDED, look_at=None, finished_at=DbNow() - timedelta(seconds=5))

    assert drain("default", "payments", MINUTE).read().rate == 0.5


def _hang() -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_sleep(30)")
        else:
            cursor.execute("SELECT SLEEP(30) FROM reliable_effects_sweep")


@NEEDS_TIME_LIMIT
@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(20)
@pytest.mark.parametrize("in_a_transaction", [True, False])
def test_a_look_that_takes_long_is_broken_off_and_spoils_nothing(in_a_transaction, caplog):
    """The caller's transaction commits, and the next statement has its usual time."""
    Sweep.objects.create(name="one to sleep on")
    if in_a_transaction:
        with transaction.atomic():
            Order.objects.create()
            assert asked("default", "it", _hang) is None
            Order.objects.create()
            limit = _time_limit()
    else:
        assert asked("default", "it", _hang) is None
        limit = _time_limit()

    assert Order.objects.count() == (2 if in_a_transaction else 0)
    assert limit in ("0", 0)
    assert "could not see it" in caplog.text


def _time_limit() -> object:
    name = {"postgresql": "SHOW statement_timeout", "mysql": "SELECT @@max_statement_time"}
    with connection.cursor() as cursor:
        cursor.execute(name[connection.vendor])
        return cursor.fetchone()[0]


@pytest.mark.django_db(transaction=True)
def test_a_look_leaves_an_open_transaction_as_it_was():
    """Not a savepoint, nor a limit, nor a row is lost."""
    with transaction.atomic():
        Order.objects.create()
        pressure("default", "payments", 10).read()
        Order.objects.create()
        assert not connection.needs_rollback

    assert Order.objects.count() == 2


@pytest.mark.django_db
def test_in_a_spoilt_transaction_nothing_is_asked(caplog):
    """It would raise, and the caller has trouble enough."""
    with transaction.atomic():
        transaction.set_rollback(True)
        seen = pressure("default", "payments", 10).read()

    assert seen is None
    assert caplog.text == ""


@pytest.mark.django_db
def test_a_spoilt_transaction_changes_nothing_for_other_requests():
    """They go by what was seen, and look as soon as it is old."""
    backlog(1)
    gauge = pressure("default", "payments", 10)
    gauge.read()
    gauge._stale_at = float("-inf")

    with transaction.atomic():
        transaction.set_rollback(True)
        spoilt = gauge.read().due
        transaction.set_rollback(False)
    backlog(1)

    assert (spoilt, gauge.read().due) == (1, 2)


@pytest.mark.django_db
def test_a_look_that_fails_is_told_once_and_not_repeated_at_once(caplog):
    """A database in trouble is asked every ten seconds, and the log gets a line a minute."""
    caplog.set_level(logging.ERROR, logger="reliable_effects")
    tried = []

    def fail():
        tried.append(1)
        raise OperationalError("gone away")

    gauge = pressures.Gauge("default", "it", fail)

    assert [gauge.read() for _ in range(5)] == [None] * 5
    assert len(tried) == 1
    assert len(caplog.records) == 1


@pytest.mark.django_db(transaction=True)  # MariaDB commits before it analyses
@pytest.mark.parametrize("most", [10, 2001])
def test_a_look_reads_nothing_but_what_it_counts(most):
    """
    Its index, from the front: what has ended and what is far ahead is not touched, nor the rest.

    For a long front PostgreSQL would rather read all that waits, and sort it.
    """
    backlog(3000)
    backlog(3000, state=State.SUCCEEDED, look_at=None, finished_at=DbNow())
    backlog(1000, age=-100 * MINUTE)
    with connection.cursor() as cursor:
        table = Delivery._meta.db_table
        cursor.execute(f"ANALYZE TABLE {table}" if connection.vendor == "mysql" else "ANALYZE")

    plan = asked("default", "it", Delivery.objects.in_front("payments")[:most].explain)

    assert "re_delivery_look" in plan
    assert "Sort" not in plan
    assert "filesort" not in plan
    assert "TEMP B-TREE" not in plan
