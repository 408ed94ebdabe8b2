"""The database's clock: it moves within a transaction, and says the same in every time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction

from reliable_effects.clock import DbNow, moved, now_sql, read_clock
from reliable_effects.outbox.models import Delivery
from tests.outbox.conftest import pending_delivery
from tests.shop.effects import wrap
from tests.shop.models import Order

ON_POSTGRESQL = connection.vendor == "postgresql"
GRACE = timedelta(seconds=30)  # the machine may be slow; a wrong zone is off by minutes at least

only_on_postgresql = pytest.mark.skipif(not ON_POSTGRESQL, reason="PostgreSQL's own functions")


@pytest.mark.django_db
def test_the_clock_is_aware_and_right():
    now = read_clock("default")

    assert now.utcoffset() == timedelta(0)
    assert abs(now - datetime.now(UTC)) < GRACE


@only_on_postgresql
@pytest.mark.django_db
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/St_Johns"])
def test_a_server_in_another_zone_writes_and_compares_the_same_instants(zone):
    """What a pooler or a function has set for the session must not end every lease at once."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE %s", [zone])
        due = wrap_for(Order.objects.create())
        later = wrap_for(Order.objects.create())
        Delivery.objects.filter(pk=later).update(due_at=DbNow() + timedelta(minutes=1))

        found = list(Delivery.objects.due().values_list("pk", flat=True))
        cursor.execute("SET LOCAL TIME ZONE 'UTC'")  # Django reads every instant as if it were

    assert found == [due]
    assert abs(Delivery.objects.get(pk=due).due_at - datetime.now(UTC)) < GRACE


@pytest.mark.skipif(connection.vendor != "mysql", reason="MariaDB's own statement")
@pytest.mark.django_db
def test_a_mariadb_session_in_another_zone_has_the_same_clock():
    """Its NOW() would be hours off, and every lease over or endless."""
    with connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+12:45'")
        try:
            now = read_clock("default")
        finally:
            cursor.execute("SET time_zone = DEFAULT")

    assert abs(now - datetime.now(UTC)) < GRACE


def wrap_for(order: Order) -> int:
    """The id of a new promise."""
    with transaction.atomic():
        emitted = wrap.promise(order)
    return Delivery.objects.values_list("pk", flat=True).get(event_id=emitted.event_id)


@only_on_postgresql
@pytest.mark.django_db
def test_the_clock_goes_on_within_a_transaction():
    """In a transaction ten minutes old, `now()` would be ten minutes late."""
    with transaction.atomic(), connection.cursor() as cursor:
        first = read_clock("default")
        cursor.execute("SELECT pg_sleep(0.01)")
        second = read_clock("default")
        cursor.execute("SELECT now()")
        (began,) = cursor.fetchone()

    assert began <= first
    assert second - first >= timedelta(milliseconds=10)


@only_on_postgresql
@pytest.mark.django_db(transaction=True)
def test_what_an_old_transaction_emits_is_due_now_not_then():
    """Its rows appear at the commit; a due time long past would raise alarms."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        (began,) = cursor.fetchone()
        cursor.execute("SELECT pg_sleep(0.05)")
        wrap.promise(Order.objects.create())

    delivery = Delivery.objects.select_related("event").get()
    assert delivery.due_at - began >= timedelta(milliseconds=50)
    assert delivery.event.emitted_at == delivery.due_at


@pytest.mark.django_db
@pytest.mark.parametrize("microsecond", [0, 1, 999_999])
def test_instants_compare_whoever_wrote_them(microsecond):
    """SQLite compares text: Django writes no fraction where it is zero, the clock always does."""
    past = datetime.now(UTC).replace(microsecond=microsecond) - timedelta(seconds=2)
    due = pending_delivery(due_at=past)
    later = pending_delivery(due_at=past + timedelta(minutes=1))

    rows = Delivery.objects.filter(pk__in=[due.pk, later.pk])

    assert list(rows.filter(due_at__lte=DbNow())) == [due]
    assert list(rows.filter(due_at__gt=DbNow())) == [later]
    assert list(rows.filter(due_at__lt=DbNow() - timedelta(seconds=1))) == [due]
    assert rows.get(pk=due.pk).due_at == past


@pytest.mark.django_db
@pytest.mark.parametrize("span", [timedelta(days=3), timedelta(hours=-2, microseconds=-250_000)])
def test_a_moved_clock_moves_everything_that_is_compared(span):
    """What a test would else wait for."""
    row = pending_delivery(due_at=DbNow() + span - timedelta(seconds=1))
    before = read_clock("default")

    with moved(span):
        inside = read_clock("default")
        assert list(Delivery.objects.due()) == [row]

    assert abs(inside - before - span) < GRACE
    assert abs(read_clock("default") - before) < GRACE


@pytest.mark.django_db
def test_moves_of_the_clock_add_up():
    with moved(timedelta(days=1)), moved(timedelta(hours=1)):
        assert read_clock("default") - datetime.now(UTC) > timedelta(days=1, minutes=59)


def test_an_error_leaves_the_clock_where_it_was():
    with pytest.raises(ZeroDivisionError), moved(timedelta(days=1)):
        raise ZeroDivisionError

    assert "86400" not in now_sql(connection)
