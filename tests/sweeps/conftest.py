"""A process that remembers nothing, a transport that writes down, and a database that refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.db.models import Model

from reliable_effects.clock import read_clock
from reliable_effects.outbox.models import Delivery
from tests.conftest import _served
from tests.forgetting import forget_everything
from tests.outbox.conftest import make_effect  # noqa: F401  # a fixture
from tests.services import Redis
from tests.sweeps import transport

SECOND, MINUTE, HOUR, DAY = (
    timedelta(seconds=1),
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
)


@pytest.fixture(autouse=True)
def _this_process_remembers_nothing() -> None:
    forget_everything()


@pytest.fixture
def _transport(settings: Any) -> None:
    """Hints go through the real publisher and end in a list: `tests.sweeps.transport`."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "tests.sweeps.transport.send"}
    transport.reset()


def from_now(delivery: Delivery) -> timedelta:
    """How long until the relay looks at it; asks the database."""
    delivery.refresh_from_db()
    assert delivery.look_at is not None
    return delivery.look_at - read_clock("default")


def at_once(times: int, work: Callable[[], Any]) -> list[Any]:
    """What *work* returned in each of so many threads that begin together."""
    barrier, results = Barrier(times), []

    def one() -> None:
        barrier.wait(10)
        try:
            results.append(work())
        finally:
            connections.close_all()

    threads = [Thread(target=one) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@contextmanager
def locked(*rows: Model) -> Iterator[None]:
    """Somebody's open transaction holds *rows*, until the block ends (or ten seconds are over)."""
    table = type(rows[0])._base_manager
    ours = table.select_for_update().filter(pk__in=[row.pk for row in rows])
    with open_elsewhere(lambda: list(ours), seconds=10) as thread:
        yield
        assert thread.is_alive(), "it waited for the lock"


@contextmanager
def open_elsewhere(lock: Callable[[], object], *, seconds: float) -> Iterator[Thread]:
    """Another thread's open transaction has done *lock*, until the block or those *seconds* end."""
    holds, done = Event(), Event()

    def hold() -> None:
        with transaction.atomic():
            lock()
            holds.set()
            done.wait(seconds)
        connections.close_all()

    thread = Thread(target=hold)
    thread.start()
    assert holds.wait(10)
    try:
        yield thread
    finally:
        done.set()
        thread.join(20)


@contextmanager
def refusing(table: str, operation: str, where: str) -> Iterator[None]:
    """The database raises on each row for which *where* (about OLD) holds, as a full disk might."""
    is_postgres = connection.vendor == "postgresql"
    trigger = f"CREATE TRIGGER refuse BEFORE {operation} ON {table}"
    with connection.cursor() as cursor:
        if is_postgres:
            cursor.execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION 'refused'; END $$"
            )
            cursor.execute(f"{trigger} FOR EACH ROW WHEN ({where}) EXECUTE FUNCTION refuse()")
        elif connection.vendor == "sqlite":
            cursor.execute(f"{trigger} WHEN {where} BEGIN SELECT RAISE(ABORT, 'refused'); END")
        else:
            cursor.execute(
                f"{trigger} FOR EACH ROW IF {where} THEN SIGNAL SQLSTATE '45000'"
                " SET MESSAGE_TEXT = 'refused'; END IF"
            )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TRIGGER refuse {f'ON {table}' if is_postgres else ''}")
            if is_postgres:
                cursor.execute("DROP FUNCTION refuse()")


@pytest.fixture(scope="module")
def spare_redis() -> Iterator[Redis]:
    """A broker that may be wiped."""
    yield from _served(lambda: Redis().start())


@pytest.fixture
def start_worker(spare_redis: Redis, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Each call starts a stock Celery worker with one child and no beat."""
    workers: list[subprocess.Popen[bytes]] = []

    def start(*, relay_grace: timedelta = SECOND) -> None:
        environment = os.environ | {
            "BROKER": spare_redis.url,
            "DJANGO_SETTINGS_MODULE": "tests.sweeps.worker_settings",
            "RELAY_GRACE": str(relay_grace.seconds),
        }
        name = f"worker-{len(workers)}"
        command = f"celery -A tests.sweeps.worker worker -n {name}@%h -c 1 -Q effects,payments"
        with (tmp_path / f"{name}.log").open("wb") as log:
            workers.append(
                subprocess.Popen(
                    [sys.executable, "-m", *command.split()],
                    cwd=Path(__file__).parents[2],
                    env=environment,
                    stdout=log,
                    stderr=log,
                )
            )

    yield start
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.wait(30)
    for log in tmp_path.glob("*.log"):
        print(log.read_text())  # noqa: T201  # pytest shows it where the test failed
