"""A spare server of the kind that is tested, and a project on a new database in it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import _served
from tests.faults.databases.project import Project, connect
from tests.services import MariaDB, Postgres, Server
from tests.waiting import eventually

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


class Disk:
    """A small file system of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """No room is left, whatever is there."""
        eventually(self._take_what_is_free)

    def free(self) -> None:
        assert self._resize(_DISK)

    def _take_what_is_free(self) -> bool:
        """False where some of it was used meanwhile."""
        disk = os.statvfs(self.path)
        return self._resize(f"{(disk.f_blocks - disk.f_bfree) * disk.f_frsize // 1024}k")

    def _resize(self, size: str) -> bool:
        command = ["mount", "-o", f"remount,size={size}", self.path]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


_DISK = "300m"  # room is taken from memory, as it is used


@pytest.fixture
def small_disk() -> Iterator[Disk]:
    path = Path(tempfile.mkdtemp(prefix="effects-disk-"))  # pytest's own are for their owner only
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_DISK},mode=1777", "tmpfs", path],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        path.rmdir()
        reason = "service: a small disk cannot be mounted here: that wants root"
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
        path.rmdir()
