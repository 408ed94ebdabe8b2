"""A spare server of the kind that is tested, and a project on a new database in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import _served
from tests.faults.databases.project import Project
from tests.services import MariaDB, Postgres, Server
from tests.services.disk import Disk, NoDisk
from tests.services.disk import small_disk as _small_disk
from tests.services.plain import connect

KIND = os.environ.get("TEST_DATABASE", "sqlite")
SERVERS: dict[str, type[Server]] = {"postgres": Postgres, "mariadb": MariaDB}

needs_a_server = pytest.mark.skipif(KIND == "sqlite", reason="SQLite has no server")
postgres_only = pytest.mark.skipif(KIND != "postgres", reason="PostgreSQL only")
sqlite_only = pytest.mark.skipif(KIND != "sqlite", reason="SQLite only")


@pytest.fixture(autouse=True)
def _on_each_database(django_db_setup: None) -> None:
    """Nothing here uses Django's connections, but this is how a run on one database is chosen."""


@pytest.fixture(scope="session")
def spare_server() -> Iterator[Server]:
    """Beside the one that Django's connections use: this one may be killed."""
    yield from _served(lambda: SERVERS[KIND]().start())


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., Project]:
    def make(server: Server | None = None, place: Path = tmp_path, **options: Any) -> Project:
        """On a new database of *server*; where there is none, on a file in *place*."""
        url = f"sqlite:{place / 'db.sqlite3'}" if server is None else new_database(server)
        project = Project(tmp_path, url, options)
        project.migrate()
        return project

    return make


def new_database(server: Server) -> str:
    """Its URL, for an ordinary user. What stood there before is gone."""
    url = server.url
    name = url.rpartition("/")[2]
    if url.startswith("postgres"):
        as_admin(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
        return url
    as_admin(
        server,
        f"DROP DATABASE IF EXISTS {name}",
        f"CREATE DATABASE {name} CHARACTER SET utf8mb4",
        "CREATE USER IF NOT EXISTS shop@'127.0.0.1'",
        f"GRANT ALL ON {name}.* TO shop@'127.0.0.1'",
    )
    return url.replace("//root@", "//shop@")


def as_admin(server: Server, *statements: str) -> None:
    """In a database of *server* that always exists."""
    base, _, _ = server.url.rpartition("/")
    url = base + ("/postgres" if base.startswith("postgres") else "/mysql")
    with closing(connect(url)) as connection, closing(connection.cursor()) as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def small_disk() -> Iterator[Disk]:
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(_small_disk())
        except NoDisk as error:
            if os.environ.get("REQUIRE_SERVICES") == "1":
                pytest.fail(f"service: {error}", pytrace=False)
            pytest.skip(f"service: {error}")
        yield disk
