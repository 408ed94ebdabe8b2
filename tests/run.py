"""
`make test`: the suite once per database, the example project's, and what was not tested.

What needs no database, and what needs only one, are runs of their own beside them.

TEST_DATABASES names the databases (all three); arguments go to pytest.
"""

# ruff: noqa: T201  # a command talks to its caller
from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self
from urllib.parse import urlsplit

from tests.durations import slowest
from tests.services import MariaDB, Missing, Postgres, obtain

_PAUSE = 0.2  # seconds between two looks at what pytest has said
_NO_TESTS = 5  # pytest's exit code where nothing was chosen
_SERVERS = {"postgres": Postgres, "mariadb": MariaDB}


def main(arguments: list[str]) -> int:
    runs: list[Run] = []
    gaps: list[str] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="effects-runs-")))

        def start(name: str, arguments: list[str], **environment: str) -> None:
            runs.append(stack.enter_context(Run(name, folder, arguments, **environment)))

        databases = os.environ.get("TEST_DATABASES", "postgres sqlite mariadb").split()
        for database in databases:
            try:
                is_all = len(databases) == 1
                for name, environment in _shares(database, is_first=not runs, is_all=is_all):
                    start(name, arguments, **environment)
            except (Missing, NoDriver) as missing:
                gaps.append(f"nothing on {database}: {missing}")
        if not arguments:
            start("example project", ["-c", "example_project/pytest.ini", "example_project"])
        # All at once, since most tests wait for other processes; shown one after the other.
        for run in runs:
            run.show()
        if not arguments:
            print()
            for line in slowest({run.name: run.durations for run in runs}):
                print(f"SLOW {line}")
        return _report(runs, gaps)


class NoDriver(Exception):
    def __init__(self) -> None:
        super().__init__("mysqlclient is not installed. `make services`, then `make test` again.")


def _shares(database: str, *, is_first: bool, is_all: bool) -> Iterator[tuple[str, dict[str, str]]]:
    """The runs on *database*: its name or share, and what it is told."""
    if is_all:
        yield database, _environment(database)
        return
    if is_first:  # both wait for brokers and workers as long as all others take
        for share in ("no database", "one database"):
            yield share, {"TEST_SHARE": share} | _environment(database, share.replace(" ", "_"))
    yield database, {"TEST_SHARE": "each database"} | _environment(database)


def _environment(database: str, suffix: str = "") -> dict[str, str]:
    """
    What a run on *database* is told; its server is started, and ends with this process.

    Where the environment names a server, several runs meet there: *suffix* is for their databases.
    """
    if database == "mariadb" and find_spec("MySQLdb") is None:
        raise NoDriver
    server = _SERVERS.get(database)
    served = {server.variable: _suffixed(obtain(server).url, suffix)} if server else {}
    return {"TEST_DATABASE": database, **served}


def _suffixed(url: str, suffix: str) -> str:
    parts = urlsplit(url)
    return parts._replace(path=parts.path + suffix).geturl()


def _report(runs: list[Run], gaps: list[str]) -> int:
    print()
    for run in runs:
        gaps += run.gaps()
        print(f"{run.name}: {run.closing_line()}")
    for gap in gaps:
        print(f"NOT TESTED {gap}")
    is_ok = all(run.passed() for run in runs) and any(run.had_tests() for run in runs)
    if gaps and os.environ.get("REQUIRE_SERVICES") == "1":
        print("REQUIRE_SERVICES=1: what was not tested counts as failed.")
        is_ok = False
    return 0 if is_ok else 1


class Run:
    """One run of pytest, in a process of its own; *folder* keeps what it says."""

    def __init__(self, name: str, folder: Path, arguments: list[str], **environment: str) -> None:
        self.name = name
        self._gaps = folder / f"{name}.gaps"
        self.durations = folder / f"{name}.durations"  # written at its end
        self._output = folder / f"{name}.output"
        command = [sys.executable, "-u", "-m", "pytest", *arguments]
        if sys.stdout.isatty():
            command.append("--color=yes")
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=Path(__file__).parents[1],
                env=os.environ
                | environment
                | {"TEST_GAPS": str(self._gaps), "TEST_DURATIONS": str(self.durations)},
                stdout=output,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Interrupted: pytest has heard of it too, and takes its servers down."""
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def show(self) -> None:
        """Pass on what pytest says, as it comes: dots, not lines."""
        print(f"\n===== {self.name} =====", flush=True)
        with self._output.open("rb") as output:
            while True:
                is_over = self._process.poll() is not None
                sys.stdout.buffer.write(output.read())
                sys.stdout.buffer.flush()
                if is_over:
                    return
                time.sleep(_PAUSE)

    def closing_line(self) -> str:
        return self._output.read_text(errors="replace").strip().rpartition("\n")[2]

    def passed(self) -> bool:
        return self._process.returncode in (0, _NO_TESTS)

    def had_tests(self) -> bool:
        return self._process.returncode != _NO_TESTS

    def gaps(self) -> list[str]:
        if not self._gaps.exists():
            return []
        return [f"on {self.name}: {line}" for line in self._gaps.read_text().splitlines()]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
