"""Celery closes every connection around each task; ours are put aside meanwhile."""

from __future__ import annotations

import contextlib
import os
import threading

import pytest
from django.db import Error, OperationalError, connection, connections, transaction

from reliable_effects.outbox import kept_connections as module
from reliable_effects.outbox.kept_connections import close_kept, kept_connections

pytestmark = pytest.mark.django_db(transaction=True)

on_a_server = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="only a server can end it from its side"
)


@pytest.fixture(autouse=True)
def _nothing_is_kept():
    close_kept()
    connections.close_all()  # what an earlier test left open would be kept as well
    yield
    close_kept()
    connections.close_all()


def _as_celery_does_around_tasks() -> None:
    """DjangoWorkerFixup.close_database: every connection is closed, whatever CONN_MAX_AGE says."""
    for each in connections.all(initialized_only=True):
        each.close()


def _identity():
    """Which connection of the database this is."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_backend_pid()")
        elif connection.vendor == "mysql":
            cursor.execute("SELECT connection_id()")
        else:
            return id(connection.connection)
        return cursor.fetchone()[0]


def _end(backend: int) -> None:
    """End a connection from the server's side; it may be the one that asks."""
    with contextlib.suppress(OperationalError), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])
        else:
            cursor.execute("KILL %s", [backend])


def _task(act=lambda: None):
    _as_celery_does_around_tasks()
    with kept_connections():
        found = _identity()
        act()
    _as_celery_does_around_tasks()
    return found


def test_two_tasks_share_one_connection():
    """142 deliveries a second without it, 591 with it."""
    assert _task() == _task() == _task()


def test_other_tasks_get_connections_of_their_own():
    """What the project's own tasks do with their connections is not ours to change."""
    ours = _task()

    between = _identity()
    _as_celery_does_around_tasks()

    assert connection.vendor == "sqlite" or between != ours
    assert _task() == ours


@on_a_server
def test_a_connection_that_broke_is_replaced():
    """Its server was restarted; the next task must not pay for it."""
    ours = _task(lambda: _end(_identity()))

    assert not getattr(module._kept, "shelf", {})
    assert _task() == _task() != ours


@on_a_server
def test_a_connection_that_broke_while_it_was_kept_is_replaced():
    """One task learns of it, as it would with CONN_MAX_AGE, and no further one."""
    ours = _task()
    _end(ours)

    with pytest.raises(OperationalError):
        _task()

    assert _task() == _task() != ours


def test_an_error_of_ours_that_left_it_whole_does_not_lose_it():
    """A wrong statement is not a broken connection."""

    def err() -> None:
        with pytest.raises(Error, match="nowhere"), connection.cursor() as cursor:
            cursor.execute("SELECT * FROM nowhere")

    assert _task(err) == _task()


def test_nothing_is_kept_out_of_an_open_transaction():
    """It would come back in the middle of somebody's work."""
    with transaction.atomic():
        before = _identity()
        with kept_connections():
            assert _identity() == before
        assert _identity() == before

    assert not getattr(module._kept, "shelf", {})


def test_a_transaction_that_was_left_open_is_not_kept():
    """The next task would work in it, and never commit."""
    _task(lambda: connection.set_autocommit(False))

    assert not getattr(module._kept, "shelf", {})


def test_threads_keep_their_own():
    """Django's connections belong to threads."""
    found = []
    ours = _task()

    thread = threading.Thread(target=lambda: (found.append(_task()), close_kept()))
    thread.start()
    thread.join(timeout=30)

    assert found
    assert connection.vendor == "sqlite" or found != [ours]


def test_an_old_connection_is_replaced(monkeypatch):
    """Proxies and servers drop what is older, without a word."""
    opened = _task()

    monkeypatch.setattr(module, "_OLDEST", 0.0)
    replaced = _task()

    assert connection.vendor == "sqlite" or replaced != opened


@on_a_server
def test_connections_are_not_carried_into_a_forked_child():
    """Two processes on one socket read each other's answers."""
    ours = _task()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, str(_task()).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    assert int(os.read(reader, 20)) != ours
    assert _task() == ours
