"""The process that sweeps beside a prefork worker's children."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.waiting import eventually

from . import effects
from .test_killers import all_succeeded, promise

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sweepers(celery_worker, tmp_path: Path) -> Callable[[], list[int]]:
    """The pids of all sweepers that the worker has had, the newest last."""
    assert celery_worker.poll() is None

    def read() -> list[int]:
        found = re.findall(r"sweeping in process (\d+)", (tmp_path / "log").read_text())
        return list(dict.fromkeys(map(int, found)))

    eventually(read, within=30)
    return read


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_sweeper_that_is_killed_is_replaced(sweepers):
    """Where there is one worker and no beat, nobody else would find what a hint lost."""
    os.kill(sweepers()[-1], signal.SIGKILL)

    eventually(lambda: len(sweepers()) == 2, within=20)
    promise(effects.innocent, 3)
    eventually(lambda: all_succeeded(effects.innocent), within=30)


def test_a_sweeper_ends_with_its_worker(celery_worker, sweepers):
    """An orphan would sweep for ever, with the code of a release that is gone."""
    (sweeper,) = sweepers()

    celery_worker.kill()
    celery_worker.wait(5)

    eventually(lambda: not is_alive(sweeper), within=20)


def test_a_worker_that_stops_takes_its_sweeper_along(celery_worker, sweepers):
    """And does not wait for it longer than for a moment."""
    (sweeper,) = sweepers()
    promise(effects.innocent)
    eventually(lambda: all_succeeded(effects.innocent), within=30)  # it is up

    celery_worker.send_signal(signal.SIGTERM)

    assert celery_worker.wait(60) == 0
    eventually(lambda: not is_alive(sweeper))
