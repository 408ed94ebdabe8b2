"""
`make proof`: every test of a fault, at full length, on every database; then the table of them.

Arguments go to pytest. TEST_DATABASES narrows what is run; all of it takes hours, so TEST_SAMPLE
bounds at how many places one act is struck, and TEST_EXAMPLES how many random histories are tried.
The page says which commit was tested, and is written only where everything passed. `--from FILE`
makes it again from the counts of earlier runs, which TEST_EVIDENCE=FILE kept.
"""

# ruff: noqa: T201  # a command talks to its caller
from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "proof.md"
DATABASES = ("sqlite", "postgres", "mariadb")
GUARD = "a guard is removed: "  # as tests/faults/mutants says it


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make proof", description=__doc__)
    parser.add_argument("--from", dest="counts", type=Path, help="counts of an earlier run")
    known, rest = parser.parse_known_args(arguments)
    if known.counts:
        return _write(known.counts)
    with TemporaryDirectory(prefix="effects-proof-") as folder:
        counts = Path(os.environ.get("TEST_EVIDENCE", f"{folder}/counts.jsonl"))
        counts.unlink(missing_ok=True)
        environment = {"TEST_EVIDENCE": str(counts), "TEST_FAULTS": "full"} | os.environ
        runs = [[*_PYTHON, "tests.run", "-m", "fault", *rest]]
        if not rest:
            runs.append([*_PYTHON, "tests.faults.mutants"])
        for command in runs:
            if failed := subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
                print("The page was not written: something failed.")
                return failed
        return _write(counts)


_PYTHON = (sys.executable, "-m")


@dataclass
class Row:
    """One fault, as one test strikes it; counts of all its cases, on all databases."""

    fault: str
    matrix: set[str]
    test: str
    databases: set[str] = field(default_factory=set)
    commits: set[str] = field(default_factory=set)
    strikes: int = 0
    lost: int = 0
    phantom: int = 0
    extra_runs: int = 0

    @property
    def on(self) -> str:
        return ", ".join(name for name in DATABASES if name in self.databases)


def rows(lines: Iterable[str]) -> list[Row]:
    """Grouped by fault and test, in the order of the tests' files."""
    found: dict[tuple[str, str], Row] = {}
    for line in map(json.loads, lines):
        key = (line["test"], line["fault"])
        row = found.setdefault(key, Row(line["fault"], set(), line["test"]))
        row.matrix |= set(line["rows"])
        row.databases.add(line["database"])
        row.commits.add(line["commit"])
        for count in ("strikes", "lost", "phantom", "extra_runs"):
            setattr(row, count, getattr(row, count) + line[count])
    return [found[key] for key in sorted(found)]


def page(rows: list[Row]) -> str:
    faults = [row for row in rows if not row.fault.startswith(GUARD)]
    guards = [row for row in rows if row.fault.startswith(GUARD)]
    return "\n".join([*_introduction(faults, guards), *_faults(faults), *_guards(guards), ""])


def _introduction(faults: list[Row], guards: list[Row]) -> Iterator[str]:
    strikes, lost, phantom, extra = (
        sum(getattr(row, name) for row in faults)
        for name in ("strikes", "lost", "phantom", "extra_runs")
    )
    when = datetime.now(UTC).date().isoformat()
    commits = sorted({commit for row in faults + guards for commit in row.commits})
    yield "# Proof"
    yield ""
    yield (
        f"What `make proof` saw on {when}, at {', '.join(f'`{commit}`' for commit in commits)},"
        f" with Python {platform.python_version()}, Django {version('django')}"
        f" and Celery {version('celery')}."
    )
    yield "The page is made by that command; change the tests, not the page."
    yield ""
    yield (
        f"**{strikes:,} strikes: {lost} lost, {phantom} phantom, {extra:,} extra runs,"
        f" each of them allowed by its fault. {len(guards)} guards were taken out,"
        " and a test noticed each.**"
    )
    if sample := os.environ.get("TEST_SAMPLE"):
        yield f"Of one act at most {sample} places were struck, chosen by chance."
    if examples := os.environ.get("TEST_EXAMPLES"):
        yield f"Of random histories {examples} were tried on each database."
    yield ""
    yield "- A *strike* is one kill, cut, restart, lie or random history."
    yield "- *Lost*: committed, and neither done nor visibly set aside."
    yield "- *Phantom*: done, and never committed."
    yield (
        "- An *extra run* is one beyond the first of a delivery, always under the same key;"
        " a test fails where its fault does not allow one."
    )
    yield "- *Rows* are those of the project's fault matrix."
    yield (
        "- Losses and phantoms are judged from a file outside the database"
        " wherever a fault can cause them."
    )


def _faults(rows: list[Row]) -> Iterator[str]:
    yield ""
    yield "## Faults"
    yield ""
    yield "| Fault | Rows | Test | On | Strikes | Lost | Phantom | Extra runs |"
    yield "|---|---|---|---|--:|--:|--:|--:|"
    for row in rows:
        matrix = " ".join(sorted(row.matrix))
        yield (
            f"| {row.fault} | {matrix} | `{row.test}` | {row.on}"
            f" | {row.strikes:,} | {row.lost} | {row.phantom} | {row.extra_runs:,} |"
        )


def _guards(rows: list[Row]) -> Iterator[str]:
    yield ""
    yield "## Guards"
    yield ""
    yield "Each is taken out of a copy of the code (`make mutants`), and the test named has to fail."
    yield ""
    yield "| Without this | fails | on |"
    yield "|---|---|---|"
    for row in sorted(rows, key=lambda row: row.fault):
        yield f"| {row.fault.removeprefix(GUARD)} | `{row.test}` | {row.on} |"


def _write(counts: Path) -> int:
    found = rows(counts.read_text().splitlines())
    PAGE.write_text(page(found))
    print(f"{PAGE.relative_to(ROOT)}: {len(found)} rows.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
