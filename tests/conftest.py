"""Fixtures for all tests: the servers, and at the end of a run what was not tested."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest
from django.db import Error, OperationalError, connection, connections
from django.test import SimpleTestCase

from tests.durations import pytest_runtest_logreport, pytest_sessionfinish
from tests.faults.evidence import (
    IS_FULL,
    deselect_what_takes_long,
    evidence,
    pytest_configure,
    pytest_runtest_makereport,
)
from tests.services import Chromium, Given, Missing, Postgres, RabbitMQ, Redis, Server, obtain
from tests.shop.management.commands import flush
from tests.waiting import eventually

__all__ = [  # for pytest
    "evidence",
    "pytest_configure",
    "pytest_runtest_logreport",
    "pytest_runtest_makereport",
    "pytest_sessionfinish",
]

_GAP = "service: "  # how the reason of a skip begins where a program is missing


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis | Given]:
    yield from _served(lambda: obtain(Redis))


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[RabbitMQ | Given]:
    yield from _served(lambda: obtain(RabbitMQ))


@pytest.fixture(scope="session")
def spare_postgres() -> Iterator[Postgres]:
    """A PostgreSQL beside the one that Django's connections use: this one may be killed."""
    yield from _served(lambda: Postgres().start())


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium | Given]:
    """One process for all tests; tests/browser/conftest.py opens pages in it."""
    yield from _served(lambda: obtain(Chromium))


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Redis | RabbitMQ | Given:
    """Both brokers in turn: start, stop, kill, restart, freeze, thaw, wipe, url, port."""
    return request.getfixturevalue(f"{request.param}_server")


_servers: list[Server | Given] = []


def _served(start):
    try:
        server = start()
    except Missing as missing:
        not_tested(missing)
    _servers.append(server)
    yield server
    _servers.remove(server)
    server.discard()


def not_tested(missing: Missing) -> NoReturn:
    """Skip, and say so at the end of the run; where all has to be tested, fail."""
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(f"{_GAP}{missing}", pytrace=False)
    pytest.skip(f"{_GAP}{missing}")


@pytest.fixture(scope="session")
def django_db_setup(
    request: pytest.FixtureRequest,
    django_db_setup: None,  # noqa: ARG001  # extended
    django_db_blocker,
) -> Iterator[None]:
    """At the end nobody else uses the databases: a worker may need a moment to be gone."""
    with django_db_blocker.unblock():
        for alias in connections:
            with suppress(Error):  # no test asks for this database, so it was not made
                flush.remember(alias)
    yield
    if request.config.getoption("reuse_db"):
        return
    # No test may have asked for this one, so it was not made.
    with django_db_blocker.unblock(), suppress(OperationalError):
        connection.ensure_connection()
        if connection.vendor == "postgresql":
            eventually(_is_alone, within=60)
    # Where our code has dropped a broken one, this is another than the one Django will close.
    connections.close_all()


def _is_alone() -> bool:
    gc.collect()  # what a thread that is gone had open may hang in a cycle, such as a traceback's
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, application_name, client_port, state, query FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        others = cursor.fetchall()
    assert not others, others  # with what each of them did last
    return True


@pytest.fixture(autouse=True)
def _no_scan_is_dear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else this machine does: a mark that time has set would hide a test's next row."""
    monkeypatch.setattr("reliable_effects.outbox.low_water._CHEAP", float("inf"))


@pytest.fixture(autouse=True)
def _servers_survive_each_test() -> Iterator[None]:
    """What a test killed or froze, the next one finds running."""
    yield
    for server in _servers:
        server.heal()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of several runs (tests/run.py), each has its share; one that is alone has all."""
    deselect_what_takes_long(config, items)
    if "TEST_SHARE" in os.environ:
        shares = {item: _share(item) for item in items}
        left_out = [item for item in items if shares[item] != os.environ["TEST_SHARE"]]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if shares[item] == os.environ["TEST_SHARE"]]


def _share(item: pytest.Item) -> str:
    if not _uses_a_database(item):
        return "no database"
    return "one database" if _wants_only_one(item) else "each database"


def _uses_a_database(item: pytest.Item) -> bool:
    return (
        "django_db_setup" in getattr(item, "fixturenames", ())
        or item.get_closest_marker("django_db") is not None
        or issubclass(getattr(item, "cls", None) or object, SimpleTestCase)
    )


def _wants_only_one(item: pytest.Item) -> bool:
    return item.get_closest_marker("one_database") is not None and not IS_FULL


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    gaps: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        if _GAP in reason:
            gap = reason.partition(_GAP)[2]
            gaps[gap] = gaps.get(gap, 0) + 1
    if not gaps:
        return
    lines = [f"{tests} tests: {gap}" for gap, tests in gaps.items()]
    terminalreporter.section("not tested")
    for line in lines:
        terminalreporter.line(line)
    if "TEST_GAPS" in os.environ:  # tests/run.py repeats them after its last database
        with Path(os.environ["TEST_GAPS"]).open("a") as file:
            file.writelines(f"{line}\n" for line in lines)
