"""
A block in which nothing can be written, because the database says no; and no query takes long.

PostgreSQL and MariaDB: a read-only transaction, which is rolled back. SQLite: `query_only`. Where
the caller has a transaction open already, MariaDB knows of no way, and what is not a question is
refused before it is sent. So it is on every other database: there only what Django sends is seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import NotSupportedError

# A connection that is opened in the block sets what Django wants of it.
_QUESTION = re.compile(
    r"\s*(?:/\*.*?\*/\s*)*\(?\s*(?:select|with|explain|show|set|savepoint|release|rollback)\b",
    re.IGNORECASE | re.DOTALL,
)
_NOT_ONE = re.compile(
    r"\b(?:insert|update|delete|merge)\s+(?:into\b|from\b|\S+\s+set\b)|\bfor\s+update\b",
    re.IGNORECASE,
)


class NothingIsWritten(NotSupportedError):
    """Something other than a question was asked of a database that is only to be read."""


@contextmanager
def reading_only(using: str, patience: timedelta) -> Iterator[None]:
    """Until the block ends *using* cannot be written to, and a query ends after *patience*."""
    connection = connections[using]
    with ExitStack() as stack:
        for alias in connections:
            if alias != using:
                stack.enter_context(connections[alias].execute_wrapper(_refuse))
        match connection.vendor:
            case "sqlite":
                if connection.in_atomic_block:  # hooks of a guard's on_commit() are taken back, too
                    stack.enter_context(_rolled_back(using))
                stack.enter_context(_query_only(connection))
            case "postgresql":
                stack.enter_context(_rolled_back(using))
                _tell(connection, "SET TRANSACTION READ ONLY")
                _tell(connection, f"SET LOCAL statement_timeout = {_milliseconds(patience)}")
            case _:
                stack.enter_context(_on_mariadb(connection, patience))
        yield


@contextmanager
def each_alone(using: str) -> Iterator[None]:
    """One question among many: its error spoils nothing for those that follow."""
    connection = connections[using]
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        yield  # knows no spoilt transaction; and to begin one would take the writers' lock
        return
    with transaction.atomic(using=using):
        yield


@contextmanager
def _rolled_back(using: str) -> Iterator[None]:
    with transaction.atomic(using=using):
        try:
            yield
        finally:
            # Nothing is to be kept; and what was set for the transaction ends with it.
            transaction.set_rollback(True, using=using)


@contextmanager
def _query_only(connection: BaseDatabaseWrapper) -> Iterator[None]:
    _tell(connection, "PRAGMA query_only = ON")
    try:
        yield
    finally:
        _tell(connection, "PRAGMA query_only = OFF")


@contextmanager
def _on_mariadb(connection: BaseDatabaseWrapper, patience: timedelta) -> Iterator[None]:
    was_in_block = connection.in_atomic_block
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@SESSION.max_statement_time")
        (before,) = cursor.fetchone()
    _tell(connection, f"SET SESSION max_statement_time = {patience.total_seconds():f}")
    try:
        with ExitStack() as stack:
            stack.enter_context(_rolled_back(connection.alias))
            if was_in_block:
                stack.enter_context(connection.execute_wrapper(_refuse))
            else:
                _tell(connection, "SET TRANSACTION READ ONLY")
            yield
    finally:
        _tell(connection, f"SET SESSION max_statement_time = {float(before):f}")


def _refuse(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    if _QUESTION.match(sql) is None or _NOT_ONE.search(sql) is not None:
        raise NothingIsWritten(
            f"{context['connection'].alias} is only read here; {sql.split(None, 1)[0][:20]!r} is refused."
        )
    return execute(sql, params, many, context)


def _tell(connection: BaseDatabaseWrapper, sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def _milliseconds(span: timedelta) -> int:
    return max(int(span / timedelta(milliseconds=1)), 1)
