"""
A worker meets another connection in the middle of its work: on each database a real conflict.

A harmless group is completed in one statement that locks its rows in the order of their ids. Here
another connection holds the last of them, and asks for the first while the worker waits: a
deadlock, which the worker loses. SQLite has one lock for all, and who waits too long is told so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction

from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.models import Delivery
from tests.faults.lost_answers.of_workers import HarmlessGroup
from tests.shop.models import LedgerEntry
from tests.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)

on_a_server = pytest.mark.skipif(connection.vendor == "sqlite", reason="it has one lock for all")

WAITERS = {
    "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
    # Not information_schema.innodb_trx: who asks it ten times a second is given the same answer.
    "mysql": "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'",
}


class Met(HarmlessGroup):
    """The effect that runs last lets the other connection begin."""

    def act(self) -> None:
        deliver("default", [row.pk for row in self.rows])

    def acts(self, order: Any, ctx: Any) -> None:
        super().acts(order, ctx)
        if ctx.delivery_id == self.rows[-1].pk:
            self.meet()

    meet: Callable[[], None]


@contextmanager
def _noting_errors() -> Iterator[list[OperationalError]]:
    """What the worker's statements were told."""
    noted: list[OperationalError] = []

    def note(execute: Callable[..., Any], *statement: Any) -> Any:
        try:
            return execute(*statement)
        except OperationalError as error:
            noted.append(error)
            raise

    with connection.execute_wrapper(note):
        yield noted


@on_a_server
@pytest.mark.fault("a real deadlock with a worker's statement, which loses", rows="D6")
def test_a_worker_that_loses_a_deadlock_completes_all_the_same(make_effect, tmp_path, evidence):
    """The completion is taken back by the server, and made again."""
    scenario = Met(make_effect, tmp_path)
    has_last = threading.Event()
    other = threading.Thread(target=_holds_the_last, args=(scenario, has_last))

    def meet() -> None:
        other.start()
        assert has_last.wait(10)

    scenario.meet = meet
    scenario.begin()

    with _noting_errors() as errors:
        scenario.run()
    other.join(20)

    assert not other.is_alive()
    assert scenario.error is None
    assert "deadlock" in str(errors[0]).lower()
    scenario.judge(evidence, "deadlock")


def _holds_the_last(scenario: Met, has_last: threading.Event) -> None:
    mine = connections["default"]
    first, last = scenario.rows[0].pk, scenario.rows[-1].pk
    try:
        with transaction.atomic():
            if mine.vendor == "postgresql":
                # Who has waited this long looks for a deadlock, and loses it: not this one.
                with mine.cursor() as cursor:
                    cursor.execute("SET LOCAL deadlock_timeout = '60s'")
            else:
                # MariaDB takes back whoever has written less.
                LedgerEntry.objects.bulk_create([LedgerEntry(order_pk=n) for n in range(500)])
            rows = Delivery.objects.select_for_update()
            list(rows.filter(pk=last))
            has_last.set()
            eventually(lambda: _waiting(mine))
            list(rows.filter(pk=first))
    finally:
        mine.close()


def _waiting(mine: Any) -> int:
    with mine.cursor() as cursor:
        cursor.execute(WAITERS[mine.vendor])
        return int(cursor.fetchone()[-1])


@pytest.mark.skipif(connection.vendor != "sqlite", reason="of SQLite's one lock")
@pytest.mark.fault("SQLite is locked for longer than a worker waits", rows="D6")
def test_a_worker_that_finds_sqlite_locked_completes_all_the_same(make_effect, tmp_path, evidence):
    """The timeout is that of one statement; the worker has more patience."""
    scenario = Met(make_effect, tmp_path)
    has_lock, may_go = threading.Event(), threading.Event()

    def lock() -> None:
        try:
            with transaction.atomic():
                has_lock.set()
                assert may_go.wait(10)
        finally:
            connections["default"].close()

    other = threading.Thread(target=lock)

    def meet() -> None:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 50")  # milliseconds; 20 s are in the settings
        other.start()
        assert has_lock.wait(10)

    def go_on(execute: Callable[..., Any], *statement: Any) -> Any:
        try:
            return execute(*statement)
        except OperationalError:
            may_go.set()
            raise

    scenario.meet = meet
    scenario.begin()

    with connection.execute_wrapper(go_on), _noting_errors() as errors:
        scenario.run()
    other.join(10)

    assert scenario.error is None
    assert "locked" in str(errors[0])
    scenario.judge(evidence, "locked")
