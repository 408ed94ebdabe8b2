"""Messages, functions that handle them, and a second transaction at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, connections, transaction

from reliable_effects.inbox import consuming
from reliable_effects.inbox.models import InboxMessage
from tests.forgetting import forget_rows

PAYLOAD = {"order": 7, "amount": "12.50"}


@pytest.fixture(autouse=True)
def _this_process_remembers_nothing() -> Iterator[None]:
    forget_rows()
    with consuming.scratch():
        yield
    forget_rows()


def message(consumer: str = "billing") -> InboxMessage:
    """The only row of *consumer*."""
    return InboxMessage.objects.get(consumer=consumer)


def fill(count: int) -> None:
    """
    A full table: *count* messages of four consumers.

    No ANALYZE: on MariaDB it would commit what a test has to roll back.
    """
    rows = [
        InboxMessage(consumer=f"consumer_{n % 4}", message_id=str(n), key=uuid4())
        for n in range(count)
    ]
    InboxMessage.objects.bulk_create(rows, batch_size=5000)


@contextmanager
def meanwhile(work: Callable[[], Any]) -> Iterator[Callable[[bool], None]]:
    """
    *work* done by another connection, whose transaction stays open inside the block.

    The block is given a function that ends it: True commits, False rolls back. So does its own end.
    """
    worked, may_end = threading.Event(), threading.Event()
    commits: list[bool] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with transaction.atomic():
                work()
                worked.set()
                assert may_end.wait(30)
                if commits != [True]:
                    transaction.set_rollback(True)
        except BaseException as error:  # noqa: BLE001  # told below, in the test's own thread
            failures.append(error)
        finally:
            worked.set()
            connections.close_all()

    thread = threading.Thread(target=run)

    def end(commit: bool) -> None:
        commits.append(commit)
        may_end.set()
        thread.join(30)

    thread.start()
    assert worked.wait(30)
    try:
        yield end
    finally:
        may_end.set()
        thread.join(30)
    assert not failures, failures


@pytest.fixture(params=["READ COMMITTED", "REPEATABLE READ"])
def isolation(request: pytest.FixtureRequest) -> Iterator[str]:
    """Of this connection; a transaction's snapshot is the older the higher it is."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time, and no levels")
    kind = "SESSION CHARACTERISTICS AS TRANSACTION" if _is_postgres() else "SESSION TRANSACTION"
    with connection.cursor() as cursor:
        cursor.execute(f"SET {kind} ISOLATION LEVEL {request.param}")
    yield request.param
    connection.close()


def _is_postgres() -> bool:
    return connection.vendor == "postgresql"
