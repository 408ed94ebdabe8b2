"""
`make test`: the suite once per database, and at the end what was not tested.

TEST_DATABASES names the databases ("sqlite postgres"); arguments go to pytest.
"""

# ruff: noqa: T201  # a command talks to its caller
from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.services import MariaDB, Missing, Postgres, obtain

_SERVERS = {"postgres": Postgres, "mariadb": MariaDB}


def main(arguments: list[str]) -> int:
    closing: dict[str, str] = {}
    gaps: list[str] = []
    is_ok = True
    for database in os.environ.get("TEST_DATABASES", "sqlite postgres").split():
        print(f"\n===== {database} =====", flush=True)
        environment = {"TEST_DATABASE": database}
        if server := _SERVERS.get(database):
            try:
                environment[server.variable] = obtain(server).url  # it ends with this process
            except Missing as missing:
                gaps.append(f"nothing on {database}: {missing}")
                continue
        if closing:  # what uses no database has run on the first
            environment["TEST_DATABASE_FREE"] = "no"
        passed, closing[database] = _pytest(arguments, environment, gaps)
        is_ok = is_ok and passed
    print()
    for database, line in closing.items():
        print(f"{database}: {line}")
    for gap in gaps:
        print(f"NOT TESTED {gap}")
    if gaps and os.environ.get("REQUIRE_SERVICES") == "1":
        print("REQUIRE_SERVICES=1: what was not tested counts as failed.")
        is_ok = False
    return 0 if is_ok else 1


def _pytest(arguments: list[str], environment: dict[str, str], gaps: list[str]) -> tuple[bool, str]:
    """Whether all passed, and pytest's closing line; adds to *gaps* what was skipped."""
    with tempfile.NamedTemporaryFile("r", prefix="effects-gaps-") as told:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "pytest", *arguments),
                *(["--color=yes"] if sys.stdout.isatty() else []),
            ],
            cwd=Path(__file__).parents[1],
            env=os.environ | environment | {"TEST_GAPS": told.name},
            stdout=subprocess.PIPE,
        )
        last = b""
        with process:
            while piece := os.read(process.stdout.fileno(), 65536):  # as it comes: dots, not lines
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
                last = (last + piece)[-1000:]
        gaps += [f"on {environment['TEST_DATABASE']}: {line.strip()}" for line in told]
    nothing_left = environment.get("TEST_DATABASE_FREE") == "no" and process.returncode == 5
    passed = process.returncode == 0 or nothing_left
    return passed, last.decode(errors="replace").strip().rpartition("\n")[2]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
