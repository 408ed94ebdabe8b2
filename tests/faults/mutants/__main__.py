"""
`make mutants`: take out each guard in turn, in a copy of the tree, and see which test notices.

Arguments are parts of names; none: all. Each mutant runs only the tests that it names, after those
have passed on the code as it is. TEST_EVIDENCE names a file for the table of proofs.
"""

# ruff: noqa: T201  # a command talks to its caller
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.evidence import Evidence, note
from tests.faults.mutants.catalogue import MUTANTS
from tests.faults.mutants.mutant import GUARD, Mutant
from tests.services import MariaDB, Missing, Postgres, obtain

ROOT = Path(__file__).parents[3]
_SERVERS = {"postgres": Postgres, "mariadb": MariaDB}
_PASSED, _FAILED = 0, 1  # pytest's exit codes; any other means that it could not run
_PATIENCE = 300.0  # seconds for the tests of one mutant: what hangs has noticed, too
_PATIENCE_AT_FIRST = 1800.0  # for all of them on the code as it is


def main(arguments: Sequence[str]) -> int:
    chosen = [m for m in MUTANTS if not arguments or any(part in m.name for part in arguments)]
    if not chosen:
        print(f"No mutant's name has any of {', '.join(arguments)} in it.")
        return 2
    with TemporaryDirectory(prefix="effects-mutants-") as folder:
        tree = _Tree(Path(folder))
        try:
            environments = {name: _environment(name) for name in {m.database for m in chosen}}
        except Missing as missing:
            print(f"NOT TESTED mutants: {missing}")
            return 1
        wrong = _not_passing(tree, chosen, environments)
        for mutant in chosen if not wrong else ():
            wrong += _strike(tree, mutant, environments[mutant.database])
    for line in wrong:
        print(line)
    print(f"{len(chosen)} mutants, {len(wrong)} of them survived or could not be tried.")
    return 1 if wrong else 0


@dataclass(frozen=True)
class _Tree:
    """A copy of the code and its tests: the working tree is never touched."""

    folder: Path

    def __post_init__(self) -> None:
        ignored = shutil.ignore_patterns("__pycache__", ".*", "_build")
        for name in ("reliable_effects", "tests", "example_project", "docs"):
            shutil.copytree(ROOT / name, self.folder / name, ignore=ignored)
        for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
            shutil.copy(ROOT / name, self.folder / name)

    @property
    def package(self) -> Path:
        return self.folder / "reliable_effects"

    def run(
        self, tests: Iterable[str], environment: dict[str, str], patience: float = _PATIENCE
    ) -> tuple[int, str]:
        """pytest's exit code, and what it said."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=line"]
        command += ["--show-capture=no", "--timeout=120", "-p", "no:cacheprovider"]
        command += [*(f"tests/{test}" for test in tests)]
        try:
            ran = subprocess.run(
                command, cwd=self.folder, env=environment | {"PYTHONPATH": str(self.folder)},
                capture_output=True, text=True, timeout=patience, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return _FAILED, "FAILED (it hung)"
        return ran.returncode, ran.stdout + ran.stderr


def _environment(database: str) -> dict[str, str]:
    environment = os.environ | {"TEST_DATABASE": database, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("TEST_EVIDENCE", None)  # a test's own counts are not those of its mutant
    environment["TEST_FAULTS"] = ""
    if server := _SERVERS.get(database):
        environment[server.variable] = obtain(server).url  # it ends with this process
    return environment


def _not_passing(
    tree: _Tree, chosen: Iterable[Mutant], environments: dict[str, dict[str, str]]
) -> list[str]:
    """Databases on which the code as it is does not pass: then no failure would say anything."""
    tests: dict[str, set[str]] = {}
    for mutant in chosen:
        tests.setdefault(mutant.database, set()).update(mutant.tests)
    wrong = []
    for database, named in tests.items():
        whole = {test for test in named if "::" not in test}
        left = sorted(whole | {test for test in named if test.partition("::")[0] not in whole})
        print(f"{database}: all these tests on the code as it is …", flush=True)
        code, said = tree.run(left, environments[database], _PATIENCE_AT_FIRST)
        if code != _PASSED:
            wrong.append(f"{database}: the tests fail on the code as it is\n{said}")
    return wrong


def _strike(tree: _Tree, mutant: Mutant, environment: dict[str, str]) -> list[str]:
    """Run *mutant*; what is wrong, if nobody noticed."""
    label = f"{mutant.name} [{mutant.database}]"
    begun = time.monotonic()
    with ExitStack() as stack:
        for file, text in mutant.mutated(tree.package).items():
            place = tree.package / file
            stack.callback(place.write_text, place.read_text())
            place.write_text(text)
        code, said = tree.run(mutant.tests, environment)
    seconds = time.monotonic() - begun
    if code == _PASSED:
        print(f"SURVIVED {label}: {mutant.breaks}", flush=True)
        return [f"SURVIVED {label}: no test noticed"]
    if code != _FAILED:
        print(f"BROKEN {label}", flush=True)
        return [f"BROKEN {label}: pytest could not run\n{said}"]
    killer = _killer(said)
    print(f"{label}: killed by {killer} in {seconds:.0f} s", flush=True)
    note(
        f"{GUARD}{mutant.name}", test=killer, database=mutant.database,
        evidence=Evidence(strikes=1),
    )  # fmt: skip
    return []


def _killer(said: str) -> str:
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)
    return found[1].partition("[")[0] if found else "the whole run"


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
