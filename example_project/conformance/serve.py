"""
The fixture server as processes: several workers behind one port, over WSGI or ASGI.

`python -m example_project.conformance` serves it on SQLite until Ctrl-C.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from example_project.processes import ROOT, Process, free_port, listens

WORKERS = 3  # that a case may kill one, and two requests meet in two processes
SETTINGS = "example_project.conformance.settings"


def environment(folder: Path, url: str = "", *, is_atomic: bool = False) -> dict[str, str]:
    """What the server's processes are told; *url* is its database, SQLite in *folder* without."""
    return {
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "FIXTURE_DIR": str(folder),
        "FIXTURE_DATABASE_URL": url,
        "FIXTURE_ATOMIC_REQUESTS": "1" if is_atomic else "",
    }


def migrate(told: Mapping[str, str]) -> None:
    """Make the tables.

    Raises:
        RuntimeError: it could not; says what Django said.
    """
    ended = subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--verbosity", "0"],
        cwd=ROOT,
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if ended.returncode:
        raise RuntimeError(f"The fixture's tables could not be made:\n{ended.stderr[-4000:]}")


class Served(Process):
    """One server, and where it listens."""

    def __init__(
        self,
        name: str,
        told: Mapping[str, str],
        *,
        logs: Path,
        is_asgi: bool = False,
        port: int = 0,
        workers: int = WORKERS,
    ) -> None:
        self.port = port or free_port()
        command = _uvicorn(self.port, workers) if is_asgi else _gunicorn(self.port, workers)
        super().__init__(name, command, logs=logs, environment=dict(told), ready=listens(self.port))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def _gunicorn(port: int, workers: int) -> list[str]:
    return [
        *(sys.executable, "-m", "gunicorn", "example_project.conformance.wsgi"),
        *("--bind", f"127.0.0.1:{port}", "--workers", str(workers)),
        # Threads, since 20 requests come at once; loaded before the fork, so that a worker that
        # was killed is soon replaced.
        *("--threads", "8", "--preload", "--no-control-socket"),
        *("--graceful-timeout", "1", "--log-level", "warning"),
    ]


def _uvicorn(port: int, workers: int) -> list[str]:
    return [
        *(sys.executable, "-m", "uvicorn", "example_project.conformance.asgi:application"),
        *("--port", str(port), "--workers", str(workers)),
        *("--lifespan", "off", "--log-level", "warning", "--no-access-log"),
        *("--timeout-graceful-shutdown", "1"),
    ]
