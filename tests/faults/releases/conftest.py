"""Workers and web processes of one release, and what the client was told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from django.db import connection

from reliable_effects.clock import DbNow
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import WAITING
from tests.faults.outside import Outside
from tests.worker.conftest import Worker, running

ROOT = Path(__file__).parents[3]
SETTINGS = "tests.faults.releases.settings"


@pytest.fixture
def outside(tmp_path: Path) -> Outside:
    return Outside(tmp_path / "outside")


@pytest.fixture
def worker(
    tmp_path: Path, outside: Outside
) -> Iterator[Callable[..., AbstractContextManager[Worker]]]:
    """`with worker("yesterday"):` an `effects_worker` of that release, with its log beside it."""

    def start(release: str, package: Path = ROOT) -> AbstractContextManager[Worker]:
        connection.close()  # SQLite's files are not to be inherited
        command = ["django", "effects_worker", "--processes", "1"]
        log = tmp_path / f"{release}-{package.name}.log"
        return running(command, log, **_environment(release, package, outside))

    return start


@pytest.fixture
def web(outside: Outside) -> Callable[..., list[str]]:
    """`web("today", "owe")`: what a web process of that release said."""

    def run(release: str, *what: str, package: Path = ROOT) -> list[str]:
        connection.close()
        told = subprocess.run(
            [sys.executable, "-m", "tests.faults.releases.web", *what],
            env=os.environ | _environment(release, package, outside),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        assert f"package: {package}/" in told
        return told.splitlines()

    return run


@pytest.fixture
def place(web: Callable[..., list[str]]) -> Callable[..., set[str]]:
    """`place("today", 5)`: five orders through a web process of that release; their numbers."""

    def place(release: str, count: int, package: Path = ROOT) -> set[str]:
        told = web(release, "place", str(count), package=package)
        return {line.split()[1] for line in told if line.startswith("committed")}

    return place


def _environment(release: str, package: Path, outside: Outside) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "RELEASE": release,
        "OUTSIDE": str(outside.path),
        "PYTHONPATH": f"{package}{os.pathsep}{ROOT}",
        "PYTHONSAFEPATH": "1",  # else the current folder's package comes first
    }


def owed(orders: set[str], *effects: str) -> set[str]:
    return {f"{effect} {order}" for effect in effects for order in orders}


def look_again() -> None:
    """What was put off for a minute: the minute is over."""
    Delivery.objects.filter(state__in=WAITING, look_at__isnull=False).update(look_at=DbNow())
