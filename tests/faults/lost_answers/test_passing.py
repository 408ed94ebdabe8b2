"""Which errors are tried again: those that say nothing of what was asked."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, DataError, InterfaceError, OperationalError, connection

from reliable_effects.outbox.passing import may_pass

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("code", "passes"),
    [(1205, True), (1213, True), (2006, True), (2013, True), (1290, True), (1366, False)],
)
def test_mariadb_says_it_by_number(code, passes):
    """1366 is a character that a column cannot keep, and as operational to Django as a deadlock."""
    assert may_pass(OperationalError(code, "some words")) is passes


@pytest.mark.parametrize(
    ("state", "passes"),
    [("40P01", True), ("40001", True), ("57P01", True), ("25006", True), ("54000", False)],
)
def test_postgresql_says_it_by_class(state, passes):
    """A standby that is not promoted yet is an internal error to the driver, and passes."""
    error = DatabaseError("some words")
    error.__cause__ = type("Driver", (Exception,), {"sqlstate": state})()

    assert may_pass(error) is passes


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OperationalError("server closed the connection unexpectedly"), True),
        (InterfaceError("connection already closed"), True),
        (DataError("value too long"), False),
        (ValueError("none of the database's"), False),
    ],
)
def test_a_connection_that_is_gone_may_come_back(error, passes):
    """It has no code, since nobody was there to give one."""
    assert may_pass(error) is passes


def test_a_table_that_is_not_there_does_not_come_by_waiting():
    """The driver's own error, as each database words it."""
    with pytest.raises(DatabaseError) as raised, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM no_such_table")

    assert not may_pass(raised.value)
