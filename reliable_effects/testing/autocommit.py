"""
Let an effect inside a test's transaction behave as it does on a worker, where none is open.

A worker runs effects in autocommit: each statement is a transaction of its own, one that fails
leaves nothing broken, and on_commit hooks run. In a `TestCase` all of it happens inside the test's
transaction, so here savepoints stand in for those commits.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger("reliable_effects")

_CONTROL = re.compile(r"\s*(SAVEPOINT|RELEASE|ROLLBACK|BEGIN|COMMIT)\b", re.IGNORECASE)


def controls_transaction(sql: str) -> bool:
    """Whether *sql* is a statement that Django itself wrote around others."""
    return _CONTROL.match(sql) is not None


@contextmanager
def as_on_a_worker() -> Iterator[None]:
    """Run the block as in autocommit, on every connection that a test holds in a transaction."""
    held = [c for c in connections.all(initialized_only=True) if c.in_atomic_block]
    with ExitStack() as stack:
        for connection in held:
            stack.enter_context(_in_autocommit(connection))
        yield


@contextmanager
def _in_autocommit(connection: BaseDatabaseWrapper) -> Iterator[None]:
    # Hooks of the test itself are not ours to run; the block's own are those registered in it.
    before, connection.run_on_commit = connection.run_on_commit, []
    try:
        with connection.execute_wrapper(_Autocommit(connection)):
            try:
                yield
            except Exception:
                # What was committed before the failure had run its hooks by then.
                _run_hooks(connection)
                raise
            _run_hooks(connection)
    finally:
        connection.run_on_commit = before
        connection.needs_rollback = False


class _Autocommit:
    """An execute wrapper: statements at the block's own level succeed or fail by themselves."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._depth = len(connection.savepoint_ids)

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        connection = self._connection
        if controls_transaction(sql):
            return execute(sql, params, many, context)
        blocks = connection.savepoint_ids[self._depth :]
        if not blocks:
            connection.needs_rollback = False  # set by a statement that failed; that is over
            if connection.vendor != "postgresql":
                # Elsewhere a failed statement leaves the transaction as it was before it; and
                # SQLite cannot release a savepoint while a statement's rows are being read.
                return execute(sql, params, many, context)
            # transaction's own is deprecated since Django 6.1.
            mark: str = connection.savepoint()  # type: ignore[assignment]  # None in autocommit only
            try:
                result = execute(sql, params, many, context)
            except Error:
                connection.savepoint_rollback(mark)
                raise
            connection.savepoint_commit(mark)
            return result
        if blocks[0] is None:
            # The ORM's own atomic(savepoint=False), around bulk_create() for one: on a worker it
            # is the outermost block, so a transaction that is rolled back by itself.
            connection.needs_rollback = False
            connection.savepoint_ids[self._depth] = connection.savepoint()
        return execute(sql, params, many, context)


def _run_hooks(connection: BaseDatabaseWrapper) -> None:
    """As `captureOnCommitCallbacks(execute=True)`: hooks may register hooks."""
    while connection.run_on_commit:
        hooks, connection.run_on_commit = connection.run_on_commit, []
        for _, hook, robust in hooks:  # type: ignore[misc]  # django-stubs: three since Django 4.2
            if not robust:
                hook()
                continue
            try:
                hook()
            except Exception:  # as Django does for robust hooks
                logger.exception("an on_commit hook of an effect failed")
