"""
Write the row of a message where none stands, and never wait for whoever is writing the same one.

Who waited for a row that another transaction has not committed yet could deadlock with it over a
second message. So each database is asked in the way in which it does not wait; SQLite has one writer
at a time, and whoever stands here is it. MariaDB may have locked the place beside a row that was
just deleted, or found twice; who wants to write there is told to come again, too.
"""

from __future__ import annotations

from typing import Any

from django.db import Error, IntegrityError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from ..outbox.passing import may_pass
from .models import InboxMessage

_COLUMNS = ("consumer", "message_id", "key", "payload_hash")
_STANDS = 1062  # MariaDB: the key is taken
_IN_THE_WAY = (1205, 1020)  # MariaDB: somebody's lock; changed since this transaction's snapshot


class InTheWay(Exception):  # becomes MessageBusy, which names the message
    """Another transaction is at the same row."""


def insert(connection: BaseDatabaseWrapper, row: InboxMessage) -> bool:
    """
    Whether *row* was written; where not, one stood there, or is being written elsewhere.

    Raises:
        InTheWay: the database would have waited. The caller's transaction is as it was.
    """
    names, values = _values(connection, row)
    match connection.vendor:
        case "postgresql":
            # The lock is let go with the transaction, or its savepoint. Who has it may insert, and
            # finds nobody else on the way to; who has not leaves at once.
            sql = (
                f"INSERT INTO {names}"
                " SELECT %s::varchar, %s::varchar, %s::uuid, %s::varchar"
                " WHERE pg_try_advisory_xact_lock(%s) ON CONFLICT DO NOTHING"
            )
            number = int.from_bytes(row.key.bytes[:8], signed=True)
            return _count(connection, sql, [*values, number]) == 1
        case "mysql":
            # What fails is undone alone, and the transaction goes on. No IGNORE: that makes zeros of
            # whatever a column does not take, and of a lost message a duplicate.
            sql = (
                f"SET STATEMENT innodb_lock_wait_timeout=0 FOR INSERT INTO {names}"
                " VALUES (%s, %s, %s, %s)"
            )
        case _:
            sql = f"INSERT OR IGNORE INTO {names} VALUES (%s, %s, %s, %s)"
    try:
        return _count(connection, sql, values) == 1
    except IntegrityError as error:
        if connection.vendor == "mysql" and error.args[:1] == (_STANDS,):
            return False
        raise
    except OperationalError as error:
        if _is_in_the_way(connection, error):
            raise InTheWay from error
        raise


def _values(connection: BaseDatabaseWrapper, row: InboxMessage) -> tuple[str, list[Any]]:
    quote = connection.ops.quote_name
    fields: list[Any] = [InboxMessage._meta.get_field(name) for name in _COLUMNS]
    columns = ", ".join(quote(field.column) for field in fields)
    values = [field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields]
    return f"{quote(InboxMessage._meta.db_table)} ({columns})", values


def _count(connection: BaseDatabaseWrapper, sql: str, values: list[Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return int(cursor.rowcount)


def _is_in_the_way(connection: BaseDatabaseWrapper, error: Error) -> bool:
    if connection.vendor == "mysql":
        return bool(error.args) and error.args[0] in _IN_THE_WAY
    return may_pass(error)
