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
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "proof.md"
DATABASES = ("sqlite", "postgres", "mariadb")


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
    return "\n".join([*_introduction(rows), *_tables(rows), ""])


def _introduction(rows: list[Row]) -> Iterator[str]:
    strikes, lost, phantom, extra = (
        sum(getattr(row, name) for row in rows)
        for name in ("strikes", "lost", "phantom", "extra_runs")
    )
    when = datetime.now(UTC).date().isoformat()
    yield "# Proof"
    yield ""
    commits = ", ".join(f"`{name}`" for name in sorted({c for row in rows for c in row.commits}))
    yield (
        f"What `make proof` saw on {when}, at commit {commits},"
        f" with Python {platform.python_version()}, Django {version('django')}"
        f" and Celery {version('celery')}."
    )
    yield "The page is made by that command; change the tests, not the page."
    yield ""
    yield (
        f"**{strikes:,} strikes: {lost} lost, {phantom} phantom,"
        f" {extra:,} extra runs, each of them allowed by its fault.**"
    )
    yield ""
    yield "- A *strike* is one kill, cut, restart, lie, removed guard or random history."
    yield "- *Lost*: committed, and neither done nor visibly set aside. *Phantom*: done, and never committed."
    yield (
        "- An *extra run* is one beyond the first of a delivery, always under the same key;"
        " a test fails where its fault does not allow one."
    )
    yield "- *Rows* are those of the project's fault matrix."
    yield "- Losses and phantoms are judged from a file outside the database wherever a fault can cause them."


def _tables(rows: list[Row]) -> Iterator[str]:
    parts: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        parts[row.test.partition("::")[0]].append(row)
    yield ""
    yield "| Fault | Rows | Test | On | Strikes | Lost | Phantom | Extra runs |"
    yield "|---|---|---|---|--:|--:|--:|--:|"
    for file, part in parts.items():
        for row in part:
            name = row.test.rpartition("::")[2]
            on = ", ".join(d for d in DATABASES if d in row.databases)
            yield (
                f"| {row.fault} | {' '.join(sorted(row.matrix))} | `{file}::{name}` | {on}"
                f" | {row.strikes:,} | {row.lost} | {row.phantom} | {row.extra_runs:,} |"
            )


def _write(counts: Path) -> int:
    found = rows(counts.read_text().splitlines())
    PAGE.write_text(page(found))
    print(f"{PAGE.relative_to(ROOT)}: {len(found)} rows.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
