"""
All processes of a chaos run: servers of our own, the shop, its workers, beat, and the partners.

Between the shop and its servers stand proxies that fail on purpose. What a fault has done, `heal`
undoes: everything that should run runs again, as a supervisor would have it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import requests

from example_project.processes import ROOT, Fleet, Process, free_port, listens, says
from tests.chaos import history
from tests.chaos.client import PASSWORD
from tests.services import MariaDB, Missing, Postgres, Proxy, RabbitMQ, Redis
from tests.services.disk import Disk
from tests.services.plain import connect
from tests.services.wrong_clock import PostgresWithWrongClock, shifted

QUEUES = "shop,effects,payments"
CHILDREN = 2  # of each Celery worker
BEHAVIOUR = {
    "*": {"fail": 0.05},
    "payment": {"fail": 0.03, "drop": 0.05},
    "mail": {"fail": 0.05, "drop": 0.02},
    "warehouse": {"fail": 0.05, "stall": 0.03, "stall_seconds": 0.3},
}


class _SmallPostgres(PostgresWithWrongClock):
    """Its log takes less room than the small disk has."""

    def command(self) -> list[str]:
        return [*super().command(), "--max_wal_size=64MB"]


class _SmallMariaDB(MariaDB):
    def command(self) -> list[str]:
        return [*super().command(), "--innodb-log-file-size=8M"]


_DATABASES = {"postgres": _SmallPostgres, "mariadb": _SmallMariaDB}
_BROKERS = {"rabbitmq": RabbitMQ, "redis": Redis}


class Stage:
    """
    `with Stage(folder, …) as stage`: everything runs and is ready.

    *disk* is where the database will be, so that a fault may fill it; *old_release* is where the
    code of the release before stands.
    """

    def __init__(
        self,
        folder: Path,
        *,
        database: str,
        broker: str,
        disk: Disk | None = None,
        old_release: Path | None = None,
    ) -> None:
        self.folder, self.disk, self.old_release = folder, disk, old_release
        self.logs = folder / "logs"
        self.ledger = folder / "partners.sqlite3"
        place = disk.path if disk else None
        self.database = _DATABASES[database](place) if database in _DATABASES else None
        self.broker = _BROKERS[broker]() if broker in _BROKERS else None
        self.before_database: Proxy | None = None
        self.before_broker: Proxy | None = None
        self.web_port, self.partners_port = free_port(), free_port()
        self.web_url = f"http://127.0.0.1:{self.web_port}"
        self.partners_url = f"http://127.0.0.1:{self.partners_port}"
        self.workers: list[Process] = []
        self.beat: Process | None = None
        self.web: Process | None = None
        self._stack = ExitStack()
        self._sqlite = (place or folder) / "shop.sqlite3"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._servers(stack)
            self._database_for_us()
            self._environment()
            self._prepare()
            self._fleet = stack.enter_context(Fleet())
            self._processes(self._fleet)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    # What callers ask

    @property
    def can_shift_clocks(self) -> bool:
        try:
            return bool(shifted(self.folder / "clock"))
        except Missing:
            return False

    @property
    def direct_url(self) -> str:
        """The shop's database by a way that nothing breaks."""
        return self.database.url if self.database else f"sqlite://{self._sqlite}"

    @contextmanager
    def ask(self) -> Iterator[Any]:
        """A plain connection to it."""
        with contextlib.closing(connect(self.direct_url)) as connection:
            yield connection

    def evidence(self) -> dict[str, Any]:
        """What the shop's tables, the ledger and the partners say now."""
        with self.ask() as connection:
            orders = history.orders(connection)
        told = requests.get(f"{self.partners_url}/webhooks", timeout=30).json()["messages"]
        return {
            "orders": orders,
            "calls": history.calls(self.ledger),
            "messages": history.messages(told),
        }

    def behave(self, behaviour: dict[str, Any]) -> None:
        answer = requests.post(f"{self.partners_url}/behaviour", json=behaviour, timeout=10)
        answer.raise_for_status()

    def heal(self) -> None:
        """Servers answer, proxies let everything through, processes run."""
        for proxy in (self.before_database, self.before_broker):
            if proxy is not None:
                proxy.mode = "ok"
        for server in (self.database, self.broker):
            if server is not None:
                server.heal()
        for process in [*self.workers, self.beat, self.web]:
            if process is not None and not process.is_alive():
                process.start()

    def python(self, name: str, *arguments: str, **more: Any) -> Process:
        """Not started yet."""
        return Process(name, [sys.executable, "-m", *arguments], logs=self.logs, **more)

    def start(self, process: Process) -> Process:
        """It ends with the stage, at the latest."""
        return self._fleet.start(process)

    def run(self, *arguments: str) -> None:
        """A short command, to its end."""
        subprocess.run(
            [sys.executable, "-m", *arguments], cwd=ROOT, timeout=120, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    # How it is set up

    def _servers(self, stack: ExitStack) -> None:
        if self.database is not None:
            stack.enter_context(self.database)
            self.before_database = stack.enter_context(Proxy(self.database.port))
        if self.broker is not None:
            stack.enter_context(self.broker)
            self.before_broker = stack.enter_context(Proxy(self.broker.port))

    def _database_for_us(self) -> None:
        if self.database is None:
            return
        name = urlsplit(self.database.url).path.strip("/")
        server = "postgres" if isinstance(self.database, Postgres) else "mysql"
        with contextlib.closing(connect(self.database.url.replace(name, server))) as connection:
            charset = "" if server == "postgres" else " CHARACTER SET utf8mb4"
            connection.cursor().execute(f"CREATE DATABASE {name}{charset}")

    def _environment(self) -> None:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
            "CHAOS_DATABASE": _through(self.before_database, self.direct_url),
            "BROKER_URL": _through(self.before_broker, self.broker.url) if self.broker else "",
            "DEMO_DIR": str(self.folder),
            "PARTNERS_URL": self.partners_url,
            "HASTE": "1",
        }

    def _prepare(self) -> None:
        self.run("django", "migrate", "--verbosity=0")
        self.run("tests.chaos.people", PASSWORD)
        if self.broker is not None:
            self.run("django", "effects_install_beat")

    def _processes(self, fleet: Fleet) -> None:
        fleet.start(self._partners()).wait_until_ready()
        self.behave(BEHAVIOUR)
        self.workers = [fleet.start(self.worker(f"worker-{n + 1}")) for n in range(2)]
        if self.broker is not None:
            self.beat = fleet.start(self.beat_process("beat"))
        self.web = fleet.start(self._web())
        fleet.wait_until_ready(120)

    def worker(self, name: str, **more: Any) -> Process:
        if self.broker is None:
            ready = says("Ctrl-C stops")
            return self.python(
                name, "django", "effects_worker", "--processes=2", ready=ready, **more
            )
        return self.python(
            name, "celery", "-A", "example_project", "worker", "-n", f"{name}@%h",
            "-c", str(CHILDREN), "-Q", QUEUES, "--loglevel", "INFO", "--without-mingle",
            "--without-gossip", ready=says("ready."), **more,
        )  # fmt: skip

    def beat_process(self, name: str) -> Process:
        schedule = str(self.folder / f"{name}-schedule")
        return self.python(
            name, "celery", "-A", "example_project", "beat", "--loglevel", "INFO",
            "--schedule", schedule, ready=says("Starting..."),
        )  # fmt: skip

    def _partners(self) -> Process:
        return self.python(
            "partners", "example_project.partners", "--port", str(self.partners_port),
            "--ledger", str(self.ledger), "--shop", self.web_url,
            ready=listens(self.partners_port),
        )  # fmt: skip

    def _web(self) -> Process:
        return self.python(
            "web", "gunicorn", "example_project.wsgi:application", "--bind",
            f"127.0.0.1:{self.web_port}", "--workers", "2", "--threads", "4", "--timeout", "30",
            ready=listens(self.web_port),
        )  # fmt: skip


def _through(proxy: Proxy | None, url: str) -> str:
    return url.replace(str(urlsplit(url).port), str(proxy.port)) if proxy else url
