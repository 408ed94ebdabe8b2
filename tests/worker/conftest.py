"""Real worker processes: `effects_worker` without a broker, and a stock Celery worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
from django.db import connection

from reliable_effects.outbox.models import Sweep
from tests.faults.outside import Outside

Worker = subprocess.Popen[bytes]


@contextmanager
def running(command: Sequence[str], log: Path, **environment: str) -> Iterator[Worker]:
    """A process tree for as long as the block takes; nothing of it stays."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.worker.settings"} | environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    finally:
        with suppress(ProcessLookupError):  # it ended, and all of it
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)
        sys.stdout.write(log.read_text(errors="replace"))  # shown where the test failed


def _effects_worker(folder: Path, slots: int = 2) -> AbstractContextManager[Worker]:
    return running(["django", "effects_worker", "--processes", str(slots)], folder / "log")


def celery_worker_on(
    broker, folder: Path, *options: str, **environment: str
) -> AbstractContextManager[Worker]:
    """A stock worker with two slots; *options* come last, so they may say otherwise."""
    command = ["celery", "-A", "tests.worker.celery_app", "worker", "-c", "2", "-Q", "effects"]
    return running(
        [*command, "-l", "INFO", *options], folder / "log", TEST_BROKER=broker.url, **environment
    )


def _celery_worker(redis_server, folder: Path) -> AbstractContextManager[Worker]:
    redis_server.wipe()
    return celery_worker_on(redis_server, folder)


@pytest.fixture(scope="class")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """Where the effects of `harm` write, here and in every process that is started from here."""
    path = tmp_path_factory.mktemp("outside") / "ledger"
    os.environ["TEST_OUTSIDE"] = str(path)
    yield Outside(path)
    del os.environ["TEST_OUTSIDE"]


@pytest.fixture
def effects_worker(tmp_path: Path) -> Iterator[Worker]:
    with _effects_worker(tmp_path) as worker:
        yield worker


@pytest.fixture
def celery_worker(redis_server, tmp_path: Path) -> Iterator[Worker]:
    with _celery_worker(redis_server, tmp_path) as worker:
        yield worker


@pytest.fixture(scope="class")
def _swept_up(django_db_setup: None, django_db_blocker) -> Iterator[None]:  # noqa: ARG001  # its database
    """A worker for a class outlives the last test's clean-up: what it writes then is removed."""
    yield
    with django_db_blocker.unblock():
        Sweep.objects.all().delete()
        connection.close()


@pytest.fixture(scope="class")
def effects_worker_of_four(
    _swept_up: None,
    outside: Outside,  # noqa: ARG001  # named in the environment before the worker is started
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Worker]:
    """For a class of tests whose effects do harm: while some die, others work."""
    with _effects_worker(tmp_path_factory.mktemp("effects_worker"), 4) as worker:
        yield worker


@pytest.fixture(scope="class")
def celery_worker_of_four(
    _swept_up: None,
    outside: Outside,  # noqa: ARG001  # as above
    redis_server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Worker]:
    """The same, a stock Celery worker on Redis."""
    redis_server.wipe()
    with celery_worker_on(redis_server, tmp_path_factory.mktemp("celery_worker"), "-c", "4") as w:
        yield w


@pytest.fixture(scope="class")
def effects_worker_for_all(
    _swept_up: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    """One for a class of tests: it has to survive what each of them does to it."""
    with _effects_worker(tmp_path_factory.mktemp("effects_worker")) as worker:
        yield worker


@pytest.fixture(scope="class")
def celery_worker_for_all(
    _swept_up: None, redis_server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    """The same, a stock Celery worker on Redis."""
    with _celery_worker(redis_server, tmp_path_factory.mktemp("celery_worker")) as worker:
        yield worker
