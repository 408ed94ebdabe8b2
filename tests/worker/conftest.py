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


def _effects_worker(folder: Path) -> AbstractContextManager[Worker]:
    return running(["django", "effects_worker", "--processes", "2"], folder / "log")


def _celery_worker(redis_server, folder: Path) -> AbstractContextManager[Worker]:
    redis_server.wipe()
    command = ["celery", "-A", "tests.worker.celery_app", "worker", "-c", "2", "-Q", "effects"]
    return running([*command, "-l", "INFO"], folder / "log", TEST_BROKER=redis_server.url)


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
