"""
The fixture's servers over one database: WSGI and ASGI, ATOMIC_REQUESTS on and off, all at once.

Each offers plain views and REST framework's. One more loses its database on request.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from celery import _state

import example_project
from example_project.conformance.serve import Served, environment, migrate
from example_project.processes import Fleet
from reliable_effects.conformance.case import CASES, Options
from reliable_effects.conformance.client import Client
from reliable_effects.conformance.run import Result, run
from tests.services import Proxy, free_port

# The servers are processes of their own; here the shop's Celery app would be the tests' own.
if example_project.celery_app is not None:
    example_project.celery_app.close()
    if _state.default_app is example_project.celery_app:
        _state.set_default_app(None)
    if _state._tls.current_app is example_project.celery_app:
        _state._set_current_app(None)

SIX = ("I02", "I16", "I21", "I23", "I29", "I31")  # on every variant
_READY_WITHIN = 90  # seconds: nine processes import Django at once, on a loaded machine


@dataclass(frozen=True, order=True)
class Variant:
    is_asgi: bool
    is_atomic: bool
    is_drf: bool = False

    @property
    def name(self) -> str:
        words = "asgi" if self.is_asgi else "wsgi", "atomic" if self.is_atomic else "autocommit"
        return " ".join((*words, "drf" if self.is_drf else "plain"))

    @property
    def server(self) -> Variant:
        return Variant(self.is_asgi, self.is_atomic)


def _every(*, is_drf: tuple[bool, ...]) -> list[Variant]:
    both = (False, True)
    return [Variant(asgi, atomic, drf) for asgi in both for atomic in both for drf in is_drf]


SERVERS = _every(is_drf=(False,))
VARIANTS = _every(is_drf=(False, True))


@dataclass
class Stage:
    kind: str
    folder: Path
    servers: dict[Variant, Served] = field(default_factory=dict)
    without_store: str = ""  # the URL of the one whose database is gone

    def url(self, variant: Variant) -> str:
        return self.servers[variant.server].url + ("/drf" if variant.is_drf else "")

    def run(self, variant: Variant, *ids: str, tell=lambda _: None) -> list[Result]:
        cases = sorted((c for c in CASES if not ids or c.id in ids), key=lambda case: case.id)
        down = self.without_store + ("/drf" if variant.is_drf else "")
        return run(Client(self.url(variant)), cases, Options(store_down=down), tell)

    def run_on_each(self, *ids: str) -> dict[Variant, list[Result]]:
        """Servers side by side, but the two kinds of view of one in turn: a case kills workers."""

        def both(server: Variant) -> list[tuple[Variant, list[Result]]]:
            pair = [variant for variant in VARIANTS if variant.server == server]
            return [(variant, self.run(variant, *ids)) for variant in pair]

        # All the cases keep a machine busy: then one server after the other.
        with ThreadPoolExecutor(len(SERVERS) if ids else 1) as pool:
            return dict(found for pair in pool.map(both, SERVERS) for found in pair)


@contextmanager
def stage(kind: str, url: str, folder: Path) -> Iterator[Stage]:
    """All servers over the database *kind*, whose server is at *url*; gone when this is left."""
    with database_on(kind, url) as database, Fleet() as fleet:
        first = folder / "first"
        first.mkdir()
        migrate(environment(first, database))
        made = Stage(kind, folder)
        for variant in SERVERS:
            told = environment(_folder(variant.name, first, folder), database)
            told["FIXTURE_ATOMIC_REQUESTS"] = "1" if variant.is_atomic else ""
            workers = 2 if variant.is_asgi else 3  # each of uvicorn's imports Django by itself
            server = Served(
                variant.name,
                told,
                logs=folder,
                is_asgi=variant.is_asgi,
                port=free_port(),
                workers=workers,
            )
            made.servers[variant] = fleet.start(server)
        with _away(first, folder, database, fleet) as (without, cut):
            fleet.wait_until_ready(_READY_WITHIN)
            # It has worked, so what the case meets is the loss and nothing else.
            works = Client(without.url).send(
                "POST", "/echo", b"a", [("Idempotency-Key", secrets.token_hex())]
            )
            assert works.status == 201, works
            cut()
            made.without_store = without.url
            yield made
            for server in [*made.servers.values(), without]:
                server.kill()  # they have nothing to tidy up, and would take seconds for it


def _folder(name: str, first: Path, folder: Path) -> Path:
    """A server's own: on SQLite it holds the database, and a sleeping handler blocks the others."""
    own = folder / name.replace(" ", "-")
    shutil.copytree(first, own)
    return own


@contextmanager
def _away(first: Path, folder: Path, database: str, fleet: Fleet):
    """A server, and what takes its database away."""
    own = _folder("away", first, folder)
    if not database:
        moved = own / "database"
        moved.mkdir()
        shutil.copy(first / "fixture.sqlite3", moved)
        told = environment(own, f"sqlite://{moved}/fixture.sqlite3")
        server = fleet.start(Served("away", told, logs=folder, port=free_port(), workers=1))
        yield server, lambda: moved.rename(own / "gone")
        return
    parts = urlsplit(database)
    with Proxy(parts.port) as proxy:
        through = database.replace(f":{parts.port}/", f":{proxy.port}/")
        told = environment(own, through)
        server = fleet.start(Served("away", told, logs=folder, port=free_port(), workers=1))

        def cut() -> None:
            proxy.mode = "cut"

        yield server, cut


@contextmanager
def database_on(kind: str, url: str) -> Iterator[str]:
    """A database of our own on the server at *url*: its address, empty for SQLite."""
    name = f"conformance_{os.getpid()}_{secrets.token_hex(3)}"
    match kind:
        case "sqlite":
            yield ""
            return
        case "postgres":
            _on_postgres(url, f"CREATE DATABASE {name}")
            drop = f"DROP DATABASE {name} WITH (FORCE)"
            clean = _on_postgres
        case _:
            _on_mariadb(url, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
            drop = f"DROP DATABASE {name}"
            clean = _on_mariadb
    try:
        yield url.rpartition("/")[0] + f"/{name}"
    finally:
        clean(url, drop)


def _on_postgres(url: str, statement: str) -> None:
    import psycopg  # noqa: PLC0415  # only where it is tested

    place = url.rpartition("/")[0].replace("postgres://", "postgresql://") + "/postgres"
    with psycopg.connect(place, autocommit=True, connect_timeout=10) as connection:
        connection.execute(statement)


def _on_mariadb(url: str, statement: str) -> None:
    import MySQLdb  # noqa: PLC0415  # only where it is tested

    parts = urlsplit(url)
    connection = MySQLdb.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        connect_timeout=10,
    )
    try:
        connection.cursor().execute(statement)
    finally:
        connection.close()
