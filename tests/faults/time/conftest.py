"""Servers whose clock a test sets, and the hands of tests/faults/place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from tests.conftest import _served
from tests.faults.place.aliases import DATABASE, Config, at, empty, known, made
from tests.faults.place.conftest import (
    _this_process_remembers_nothing,
    celery_worker,
    effects_worker,
    outside,
    unblocked,
)
from tests.services.wrong_clock import MariaDBWithWrongClock, PostgresWithWrongClock

__all__ = [
    "_this_process_remembers_nothing",
    "celery_worker",
    "effects_worker",
    "outside",
    "unblocked",
]

_SERVERS = {"postgres": PostgresWithWrongClock, "mariadb": MariaDBWithWrongClock}


@dataclass(frozen=True)
class Clocked:
    """A database of its own on a server whose clock is the test's."""

    server: PostgresWithWrongClock | MariaDBWithWrongClock
    config: Config
    alias: str = "clocked"

    def is_off_by(self, off: timedelta) -> None:
        self.server.set_clock(off)


@pytest.fixture(scope="session")
def _clocked(django_db_setup: None, django_db_blocker) -> Iterator[Clocked]:  # noqa: ARG001  # its database
    if DATABASE == "sqlite":
        pytest.skip("SQLite has no server, and so no clock of its own")
    for server in _served(lambda: _SERVERS[DATABASE]().start()):
        config = at(server.url, "clocked")
        with django_db_blocker.unblock(), made("clocked", config):
            pass
        yield Clocked(server, config)


@pytest.fixture
def clocked(_clocked: Clocked, unblocked: None) -> Iterator[Clocked]:  # noqa: ARG001  # any database
    """Right at first; `clocked.is_off_by(HOUR)` makes it jump."""
    _clocked.is_off_by(timedelta(0))
    with known(_clocked.alias, _clocked.config):
        yield _clocked
        _clocked.is_off_by(timedelta(0))
        empty(_clocked.alias)
