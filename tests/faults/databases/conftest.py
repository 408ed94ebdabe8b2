"""A spare server of the kind that is tested, and a project on a new database in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import _served
from tests.faults.databases.project import Project, connect
from tests.services import MariaDB, Postgres, Server

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
    def make(server: Server | None = None, **options: Any) -> Project:
        """On a new database of *server*; on a file where there is none."""
        url = f"sqlite:{tmp_path / 'db.sqlite3'}" if server is None else new_database(server)
        project = Project(tmp_path, url, options)
        project.migrate()
        return project

    return make


def new_database(server: Server) -> str:
    """Its URL. What stood there before is gone."""
    url = server.url
    name = url.rpartition("/")[2]
    with closing(connect(admin_url(server))) as connection, closing(connection.cursor()) as cursor:
        if url.startswith("postgres"):
            cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            cursor.execute(f"CREATE DATABASE {name}")
        else:
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    return url


def admin_url(server: Server) -> str:
    """A database of *server* that always exists."""
    base, _, _ = server.url.rpartition("/")
    return base + ("/postgres" if base.startswith("postgres") else "/mysql")
