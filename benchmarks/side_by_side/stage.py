"""A contender's stage: a database of its own, a client process, and its workers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psycopg

from .contenders import Contender
from .place import on_server
from .servers import Servers
from .site import ledger

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 15.0  # seconds that workers are given to end


class NotRun(Exception):
    """A contender could not be set up or run, and why."""


class Stage:
    def __init__(
        self,
        contender: Contender,
        servers: Servers,
        folder: Path,
        database: str = "postgres",
        label: str = "",
    ) -> None:
        """*label* tells apart several stages of one contender."""
        self.contender = contender
        self.name = f"bench_{contender.name}{label and '_' + label}"
        self._servers = servers
        self._folder = folder / f"{self.name}-{database}"
        self._folder.mkdir(parents=True, exist_ok=True)
        self.ledger = self._folder / "ledger"
        self.ledger.unlink(missing_ok=True)  # of a work before
        self.database_url = self._make_database(database)
        self._environment = {
            **os.environ,
            "BENCH_CONTENDER": contender.name,
            "BENCH_DATABASE_URL": self.database_url,
            "BENCH_BROKER_URL": servers.broker_url(contender.broker, self.name),
            "BENCH_QUEUE": self.name,
            "BENCH_LEDGER": str(self.ledger),
            "DJANGO_SETTINGS_MODULE": "benchmarks.side_by_side.site.settings",
            "DD_DOGSTATSD_DISABLE": "true",
            "PYTHONUNBUFFERED": "1",
        }
        self._client = self._start("client", ["-m", "benchmarks.side_by_side.client"], pipes=True)
        self._workers: list[subprocess.Popen[bytes]] = []
        self.ask("migrate", statements=list(contender.sql))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_workers()
        with contextlib.suppress(OSError):
            self._client.stdin.close()  # type: ignore[union-attr]  # a pipe, above
        _end([self._client])

    def ask(self, what: str, **arguments: Any) -> Any:
        """
        What the client says to it.

        Raises:
            NotRun: it failed there, or the client is gone.
        """
        stdin, stdout = self._client.stdin, self._client.stdout
        assert stdin is not None  # pipes, above
        assert stdout is not None
        try:
            stdin.write(json.dumps({"do": what, **arguments}).encode() + b"\n")
            stdin.flush()
            line = stdout.readline()
        except OSError:
            line = b""
        if not line:
            raise NotRun(f"{what}: its client ended: {self.last_line('client')}")
        answer = json.loads(line)
        if "error" in answer:
            raise NotRun(f"{what}: {answer['error']}")
        return answer["is"]

    @contextlib.contextmanager
    def workers(self, processes: int) -> Iterator[None]:
        """Its workers, from their start to their end; what they were at is finished."""
        self.start_workers(processes)
        try:
            yield
        finally:
            self.stop_workers()

    def start_workers(self, processes: int) -> None:
        for number, command in enumerate(self.contender.workers(processes)):
            command = [word.format(queue=self.name) for word in command]  # noqa: PLW2901
            self._workers.append(self._start(f"worker-{number}", command))

    def stop_workers(self) -> None:
        _end(self._workers)
        self._workers.clear()

    def worker_pids(self) -> list[int]:
        return [worker.pid for worker in self._workers]

    def wait_for_runs(self, count: int, seconds: float) -> int:
        """Until so many runs are noted, at most *seconds*; how many there are."""
        until = time.monotonic() + seconds
        while (seen := ledger.count(self.ledger)) < count and time.monotonic() < until:
            for worker in self._workers:
                if worker.poll() is not None:
                    number = self._workers.index(worker)
                    raise NotRun(f"a worker ended: {self.last_line(f'worker-{number}')}")
            time.sleep(0.02)
        return seen

    def runs(self) -> list[ledger.Run]:
        return ledger.read(self.ledger)

    def last_line(self, name: str) -> str:
        log = self._folder / f"{name}.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        return lines[-1] if lines else "it said nothing"

    def _start(self, name: str, command: Any, *, pipes: bool = False) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else log,
                stderr=log,
                start_new_session=True,
            )

    def _make_database(self, database: str) -> str:
        name = self.name
        match database:
            case "sqlite":
                return f"sqlite://{self._folder}/db.sqlite3"
            case "mariadb":
                import MySQLdb  # noqa: PLC0415  # only where it is wanted

                url = self._servers.mariadb.url
                port = self._servers.mariadb.port
                server = MySQLdb.connect(host="127.0.0.1", port=port, user="root")
                with contextlib.closing(server):
                    server.query(f"DROP DATABASE IF EXISTS {name}")
                    server.query(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
                return on_server(url, name)
        url = self._servers.postgres.url
        with psycopg.connect(on_server(url, "postgres"), autocommit=True) as server:
            server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            server.execute(f'CREATE DATABASE "{name}"')
        return on_server(url, name)


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """Ask all of them to end, then kill what is left of each group."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    until = time.monotonic() + _PATIENCE
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, until - time.monotonic()))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
