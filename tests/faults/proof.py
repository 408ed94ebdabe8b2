"""
`make proof`: every test of a fault, at full length, on every database; then the table of them.

Arguments go to pytest, and then only what was run is told anew: `results.jsonl` beside this file
keeps what each test last saw, and the page is made from it. All of it takes hours, so
TEST_DATABASES narrows what is run, TEST_SAMPLE bounds at how many places one act is struck, and
TEST_EXAMPLES how many random histories are tried. Nothing is written where a test failed. `--page`
runs nothing, and `--from FILE` takes counts that TEST_EVIDENCE=FILE kept.
"""

# ruff: noqa: T201  # a command talks to its caller
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.chaos import measured
from tests.faults.matrix import NOT_HERE, PARTS, ROOT, ROWS, Marked, marked
from tests.faults.mutants.catalogue import MUTANTS
from tests.faults.mutants.mutant import GUARD

PAGE = ROOT / "docs" / "explanation" / "proof.md"
RESULTS = Path(__file__).parent / "results.jsonl"
DATABASES = ("sqlite", "postgres", "mariadb")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make proof", description=__doc__)
    parser.add_argument("--from", dest="counts", type=Path, help="counts of an earlier run")
    parser.add_argument("--page", action="store_true", help="only make the page anew")
    known, rest = parser.parse_known_args(arguments)
    if known.page:
        return _write(stored())
    if known.counts:
        return _keep(known.counts)
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
        return _keep(counts)


_PYTHON = (sys.executable, "-m")


@dataclass
class Result:
    """What one test last saw of its fault; counts of all its cases, on all databases."""

    fault: str
    test: str
    databases: set[str] = field(default_factory=set)
    dates: set[str] = field(default_factory=set)
    commits: set[str] = field(default_factory=set)
    versions: set[str] = field(default_factory=set)
    bounds: set[str] = field(default_factory=set)  # such as "TEST_SAMPLE=25"
    strikes: int = 0
    lost: int = 0
    phantom: int = 0
    extra_runs: int = 0

    @property
    def is_guard(self) -> bool:
        return self.fault.startswith(GUARD)

    @property
    def key(self) -> str:
        """Another result of the same takes its place."""
        return self.fault if self.is_guard else self.test

    @property
    def on(self) -> str:
        return ", ".join(name for name in DATABASES if name in self.databases)


def counted(lines: Iterable[str]) -> list[Result]:
    """Lines of TEST_EVIDENCE, grouped by test, in the order of the tests' files."""
    found: dict[str, Result] = {}
    for line in map(json.loads, lines):
        result = Result(line["fault"], line["test"])
        result = found.setdefault(result.key, result)
        result.databases.add(line["database"])
        result.dates.add(line["date"])
        result.commits.add(line["commit"])
        result.versions.add(line["versions"])
        result.bounds |= set(line["bounds"])
        for count in _COUNTS:
            setattr(result, count, getattr(result, count) + line[count])
    return _sorted(found.values())


_COUNTS = ("strikes", "lost", "phantom", "extra_runs")
_SETS = ("databases", "dates", "commits", "versions", "bounds")


def _sorted(results: Iterable[Result]) -> list[Result]:
    return sorted(results, key=lambda result: (result.is_guard, result.test, result.fault))


def merged(kept: Iterable[Result], new: Iterable[Result]) -> list[Result]:
    """The *new* ones in the place of those *kept* from earlier."""
    return _sorted({result.key: result for result in [*kept, *new]}.values())


def stored() -> list[Result]:
    lines = map(json.loads, RESULTS.read_text().splitlines())
    return [
        Result(**{name: set(told) if name in _SETS else told for name, told in line.items()})
        for line in lines
    ]


def current(results: Iterable[Result]) -> list[Result]:
    """Without those of tests and mutants that there are no more."""
    marks = marked()
    guards = {GUARD + mutant.name for mutant in MUTANTS}
    return [
        result for result in results
        if (result.fault in guards if result.is_guard else any(m.is_of(result.test) for m in marks))
    ]  # fmt: skip


def _keep(counts: Path) -> int:
    return _write(merged(stored(), counted(counts.read_text().splitlines())))


def _write(results: list[Result]) -> int:
    results = current(results)
    lines = [
        json.dumps({n: sorted(t) if n in _SETS else t for n, t in asdict(result).items()})
        for result in results
    ]
    RESULTS.write_text("".join(f"{line}\n" for line in lines))
    PAGE.write_text(page(results, marked()))
    print(f"{PAGE.relative_to(ROOT)}: {len(results)} results.")
    return 0


# The page


def page(results: Sequence[Result], marks: Sequence[Marked]) -> str:
    faults = [result for result in results if not result.is_guard]
    guards = [result for result in results if result.is_guard]
    lines = [
        *_introduction(faults, guards),
        *_by_row(faults, marks),
        *_by_fault(faults, marks),
        *_guards(guards),
    ]
    return "\n".join([*lines, ""])


def _introduction(faults: Sequence[Result], guards: Sequence[Result]) -> Iterator[str]:
    strikes, lost, phantom, extra = (
        sum(getattr(result, name) for result in faults) for name in _COUNTS
    )
    dates, commits, versions, bounds = (
        sorted({told for result in [*faults, *guards] for told in getattr(result, name)})
        for name in ("dates", "commits", "versions", "bounds")
    )
    yield "# Proof"
    yield ""
    days = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    yield f"What `make proof` last saw of each test: {days}, {'; '.join(versions)}."
    if len(commits) > 1:
        yield (
            "It was run in parts, so each result is of the day beside it,"
            f" and of one of these commits: {', '.join(f'`{one}`' for one in commits)}."
        )
    else:
        yield f"All of it is of the commit `{commits[0]}`."
    yield "The page is made by that command; change the tests, not the page."
    yield ""
    yield (
        f"**{strikes:,} strikes: {lost} lost, {phantom} phantom, {extra:,} extra runs,"
        f" each of them allowed by its fault. {len(guards)} guards were taken out,"
        " and a test noticed each.**"
    )
    for bound in bounds:
        what, _, number = bound.partition("=")
        yield _BOUNDS[what].format(int(number))
    yield ""
    yield "- A *strike* is one kill, cut, restart, lie or random history."
    yield "- A test that does not count its strikes has one in each of its cases."
    yield "- *Lost*: committed, and neither done nor visibly set aside."
    yield "- *Phantom*: done, and never committed."
    yield (
        "- An *extra run* is one beyond the first of a delivery, always under the same key;"
        " a test fails where its fault does not allow one."
    )
    yield (
        "- Losses and phantoms are judged from a file outside the database"
        " wherever a fault can cause them."
    )


_BOUNDS = {
    "TEST_SAMPLE": "Of one act at most {} places were struck, chosen by chance.",
    "TEST_EXAMPLES": "Of random histories {} were tried on each database.",
}


def _by_row(faults: Sequence[Result], marks: Sequence[Marked]) -> Iterator[str]:
    tested = {row for mark in marks for row in mark.rows}
    yield ""
    yield "## By row"
    yield ""
    yield (
        f"The fault matrix has {len(ROWS)} rows: what is known to go wrong, from the bug trackers of"
        " others and from trying it."
    )
    yield (
        f"{len(tested & set(ROWS))} of them have a test of their own, and {len(NOT_HERE)} say why"
        " they cannot be tested here."
    )
    yield "`make chaos` is [a run of everything at once](chaos.md)."
    for part, rows in PARTS.items():
        yield ""
        yield f"### {part}"
        yield ""
        yield "| Row | What goes wrong | Test | Last result |"
        yield "|---|---|---|---|"
        for row, fault in rows.items():
            named = f"{row} | {fault}"
            for test, result in _of_row(row, faults, marks):
                yield f"| {named} | {test} | {result} |"
                named = " | "


def _of_row(
    row: str, faults: Sequence[Result], marks: Sequence[Marked]
) -> Iterator[tuple[str, str]]:
    """Its tests, and what each of them last saw."""
    if row in NOT_HERE:
        yield "", f"not tested here: {NOT_HERE[row]}"
    for mark in marks:
        if row not in mark.rows:
            continue
        seen = [result for result in faults if mark.is_of(result.test)]
        for result in seen:
            yield _linked(result.test), _told(result)
        if not seen:
            yield _linked(f"{mark.file}::{mark.name}"), "not run by `make proof` yet"
    yield from measured.of_row(row)


def _told(result: Result) -> str:
    told = f"passed {max(result.dates)}, {result.strikes:,} strikes"
    told = told.removesuffix("s") if result.strikes == 1 else told
    bad = [f"{getattr(result, n)} {n}" for n in ("lost", "phantom") if getattr(result, n)]
    return ", ".join([told, *bad])


def _linked(test: str) -> str:
    file, _, name = test.partition("::")
    return f"[`{name}`](../../{file})"


def _by_fault(faults: Sequence[Result], marks: Sequence[Marked]) -> Iterator[str]:
    yield ""
    yield "## By fault"
    yield ""
    yield "| Fault | Rows | Test | On | Strikes | Lost | Phantom | Extra runs |"
    yield "|---|---|---|---|--:|--:|--:|--:|"
    for result in faults:
        rows = next((" ".join(mark.rows) for mark in marks if mark.is_of(result.test)), "")
        yield (
            f"| {result.fault} | {rows} | {_linked(result.test)} | {result.on}"
            f" | {result.strikes:,} | {result.lost} | {result.phantom} | {result.extra_runs:,} |"
        )


def _guards(guards: Sequence[Result]) -> Iterator[str]:
    yield ""
    yield "## Guards"
    yield ""
    yield "Each is taken out of a copy of the code (`make mutants`), and the test named has to fail."
    untold = len(MUTANTS) - len(guards)
    if untold:
        yield f"`make mutants` knows {untold} more, which this table has not seen yet."
    yield ""
    yield "| Without this | fails | on |"
    yield "|---|---|---|"
    for result in sorted(guards, key=lambda result: result.fault):
        yield f"| {result.fault.removeprefix(GUARD)} | {_linked(result.test)} | {result.on} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
