"""The world outside, worker processes that act on it, and databases beside the usual ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.faults.outside import Outside
from tests.forgetting import forget_everything
from tests.worker.conftest import Worker, running

from .effects import OUTSIDE


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outside:
    """What effects write to, in this process and its children."""
    monkeypatch.setenv(OUTSIDE, str(tmp_path / "outside"))
    return Outside(tmp_path / "outside")


@pytest.fixture(autouse=True)
def _this_process_remembers_nothing() -> None:
    forget_everything()


@pytest.fixture
def unblocked(django_db_setup: None, django_db_blocker) -> Iterator[None]:  # noqa: ARG001  # its database
    """Any database may be used; what a test leaves in one it takes away itself."""
    with django_db_blocker.unblock():
        yield


StartWorker = Callable[..., AbstractContextManager[Worker]]


@pytest.fixture
def effects_worker(tmp_path: Path) -> StartWorker:
    """`with effects_worker(name, processes=2, **environment)`: one that runs meanwhile."""

    def start(
        name: str = "worker", *, processes: int = 2, **environment: str
    ) -> AbstractContextManager[Worker]:
        command = ["django", "effects_worker", "--processes", str(processes)]
        usual = {"DJANGO_SETTINGS_MODULE": "tests.faults.place.project"}
        return running(command, tmp_path / f"{name}.log", **usual | environment)

    return start


@pytest.fixture
def celery_worker(tmp_path: Path) -> StartWorker:
    """`with celery_worker(name, broker, **environment)`; `pool` is prefork or threads."""

    def start(
        name: str, broker: str, *, pool: str = "prefork", slots: int = 2, **environment: str
    ) -> AbstractContextManager[Worker]:
        command = ["celery", "-A", "tests.faults.place.celery_app", "worker", "-Q", "effects"]
        options = ["-n", f"{name}@%h", "-P", pool, "-c", str(slots), "-l", "INFO"]
        usual = {"DJANGO_SETTINGS_MODULE": "tests.faults.place.project", "TEST_BROKER": broker}
        log = tmp_path / f"{name}.log"
        return running([*command, *options], log, **usual | environment)

    return start


def log_of(tmp_path: Path, name: str) -> str:
    return (tmp_path / f"{name}.log").read_text(errors="replace")
