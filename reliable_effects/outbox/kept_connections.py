"""
Keep database connections between tasks.

Celery closes every Django connection before and after each task, whatever CONN_MAX_AGE says
(measured: 142 deliveries/s against 591 with reuse). The project's own tasks are not ours to change,
so we only put our connections aside while no task of ours runs.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

_OLDEST = 600.0  # seconds: proxies and servers drop what is older without a word

_kept = threading.local()
# Where gevent has patched it, it is local to a greenlet, and each task has one of its own: what it
# kept nobody would find, nor close before it is collected.
_OUTLIVES_A_TASK = type(_kept).__module__ == "_thread"
_of_the_parent: list[object] = []


def _leave_to_the_parent() -> None:
    # Held, since closing them, as deleting may do, would end the parent's own.
    _of_the_parent.append(getattr(_kept, "shelf", None))
    _kept.shelf = {}


os.register_at_fork(after_in_child=_leave_to_the_parent)


@contextmanager
def kept_connections() -> Iterator[None]:
    """Use this thread's kept connections for the block, and keep them again at its end."""
    if not _OUTLIVES_A_TASK:
        yield  # Celery closes them
        return
    shelf: dict[str, tuple[BaseDatabaseWrapper, float]] = getattr(_kept, "shelf", {})
    _kept.shelf = {}
    since = {}
    for alias, (connection, opened) in shelf.items():
        if time.monotonic() - opened > _OLDEST:
            connection.close()
            continue
        connections[alias] = connection
        since[alias] = opened
    try:
        yield
    finally:
        for connection in connections.all(initialized_only=True):
            if connection.connection is None or not connection.autocommit:
                continue  # nothing to keep, or somebody is in the middle of a transaction
            if _is_lent(connection):
                continue  # kept, it would be missing for all other threads; a pool keeps its own
            if connection.errors_occurred and not connection.is_usable():
                connection.close()
                continue
            connection.errors_occurred = False
            opened = since.get(connection.alias, time.monotonic())
            _kept.shelf[connection.alias] = (connection, opened)
            del connections[connection.alias]


def give_back() -> None:
    """To the pools they were lent by, for whoever waits there; what is nobody else's stays open."""
    for connection in connections.all(initialized_only=True):
        if _is_lent(connection) and not connection.in_atomic_block:
            connection.close()


def _is_lent(connection: BaseDatabaseWrapper) -> bool:
    """By a pool, which is Django's option for PostgreSQL."""
    return bool(connection.settings_dict["OPTIONS"].get("pool"))


def close_kept() -> None:
    """Close what this thread has put aside."""
    for connection, _ in getattr(_kept, "shelf", {}).values():
        connection.close()
    _kept.shelf = {}
