"""Real worker processes: `effects_worker` without a broker, and a stock Celery worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

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


@pytest.fixture
def effects_worker(tmp_path: Path) -> Iterator[Worker]:
    with running(["django", "effects_worker", "--processes", "2"], tmp_path / "log") as worker:
        yield worker


@pytest.fixture
def celery_worker(redis_server, tmp_path: Path) -> Iterator[Worker]:
    redis_server.wipe()
    command = ["celery", "-A", "tests.worker.celery_app", "worker", "-c", "2", "-Q", "effects"]
    log = tmp_path / "log"
    with running([*command, "-l", "INFO"], log, TEST_BROKER=redis_server.url) as worker:
        yield worker


@pytest.fixture(params=["effects_worker", "celery_worker"])
def worker(request: pytest.FixtureRequest) -> Worker:
    """Each in turn: what a delivery may do to its process must not depend on whose it is."""
    return request.getfixturevalue(request.param)
