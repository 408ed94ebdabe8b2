"""
Put right what an effect left behind: in this process's connections, and its children.

A transaction that was begun and never ended would swallow our own next write, and what the effects
after it write: all of it would be undone whenever the connection closes. A connection that was
closed, or broken, under us would fail the next effect in a group.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

from .verdicts import Failed, Skipped, Snoozed, Succeeded, Verdict

logger = logging.getLogger("reliable_effects")


@contextmanager
def ending_children(effect: str) -> Iterator[None]:
    """
    End the children that come back from the block, as one does that an effect forked and forgot.

    It would be a second worker on one claim and one connection, where each may read the answers to
    the other's queries.
    """
    pid = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != pid:
            try:
                logger.error("a child of %s came back from it and is ended", effect)
            finally:
                os._exit(1)


def as_they_are() -> Mapping[str, bool]:
    """Whether each connection that is open stands in autocommit: in tests it may not."""
    return {
        connection.alias: connection.autocommit
        for connection in connections.all(initialized_only=True)
        if connection.connection is not None
    }


def put_right(before: Mapping[str, bool]) -> list[str]:
    """Close what is not as it was *before*; the aliases where a transaction was left open."""
    left_open = []
    for connection in connections.all(initialized_only=True):
        if connection.connection is None:
            continue
        usual = before.get(connection.alias, bool(connection.settings_dict["AUTOCOMMIT"]))
        if connection.autocommit != usual:
            left_open.append(connection.alias)
        elif not usual or not _is_amiss(connection, left_open):
            continue
        with suppress(Error):  # some drivers refuse to close what is closed
            connection.close()
        if connection.in_atomic_block:
            connection.connect()  # it resets what close() keeps inside a block
    return left_open


def judged(verdict: Verdict, left_open: Sequence[str]) -> Verdict:
    """What was written in a transaction that never ended is lost, so nothing has succeeded."""
    aliases = ", ".join(left_open)
    if isinstance(verdict, Succeeded) and verdict.written:
        logger.warning("a transaction was left open on %s, and rolled back", aliases)
    elif isinstance(verdict, Succeeded | Skipped | Snoozed):
        return Failed(
            TransactionManagementError(
                f"the effect left a transaction open on {aliases};"
                " what it wrote there was rolled back"
            )
        )
    return verdict


def _is_amiss(connection: BaseDatabaseWrapper, left_open: list[str]) -> bool:
    try:
        if _is_in_transaction(connection):
            left_open.append(connection.alias)
            return True
    except connection.Database.Error:  # type: ignore[attr-defined]  # each backend has its driver
        return True  # closed, and the server may be well
    if connection.errors_occurred:
        connection.errors_occurred = False
        return not connection.is_usable()
    return False


def _is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """
    Also one that was begun in SQL, which Django does not know of.

    Raises:
        Error of the driver: the connection is closed.
    """
    raw = connection.connection
    match connection.vendor:
        case "postgresql":
            if raw.closed:
                raise connection.Database.OperationalError  # type: ignore[attr-defined]  # as above
            return bool(raw.info.transaction_status)  # 0 is libpq's IDLE
        case "sqlite":
            return bool(raw.in_transaction)
        case "mysql" if connection.mysql_is_mariadb:  # type: ignore[attr-defined]  # MySQL's own
            with raw.cursor() as cursor:  # its client does not keep what the server tells it
                cursor.execute("SELECT @@in_transaction")
                return bool(cursor.fetchone()[0])
        case _:
            return False
