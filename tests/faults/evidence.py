"""
What a test of a fault has seen: how often it struck, what was lost, phantom, or run once more.

`@pytest.mark.fault("the answer of a COMMIT is lost", rows="C3 C14")` names the fault, and the rows
of the fault matrix that it stands for. The fixture `evidence` counts; a loss fails the test. A test
that does without it has struck once in each case that passes.
`@pytest.mark.full` is for what takes long: it runs where TEST_FAULTS=full, as in `make proof`.
"""

from __future__ import annotations

import json
import os
import platform
import random
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

T = TypeVar("T")

IS_FULL = os.environ.get("TEST_FAULTS") == "full"
_PASSED = pytest.StashKey[bool]()


class Counted(Protocol):
    """Such as `outside.Verdict`."""

    lost: int
    phantom: int
    extra_runs: int


@dataclass
class Evidence:
    """Of one test, on one database."""

    strikes: int = 0  # kills, cuts, restarts, runs of a machine: how often the fault happened
    lost: int = 0  # committed, and neither done nor visibly set aside
    phantom: int = 0  # done, and never committed
    extra_runs: int = 0  # beyond one for each delivery; each must be allowed by its fault

    def add(
        self, *, strikes: int = 1, lost: int = 0, phantom: int = 0, extra_runs: int = 0
    ) -> None:
        self.strikes += strikes
        self.lost += lost
        self.phantom += phantom
        self.extra_runs += extra_runs

    def judged(self, verdict: Counted, *, strikes: int = 1) -> None:
        """Add what the world outside says of so many strikes."""
        self.add(
            strikes=strikes,
            lost=verdict.lost,
            phantom=verdict.phantom,
            extra_runs=verdict.extra_runs,
        )


def sampled(places: Sequence[T], at_most: int) -> Sequence[T]:
    """
    All of *places* in a full run, else some of them, other ones with each seed of the run.

    TEST_SAMPLE bounds a full run too: the sweep of every line takes hours.
    """
    if IS_FULL:
        at_most = int(os.environ.get("TEST_SAMPLE", len(places)))
    if len(places) <= at_most:
        return places
    chosen = sorted(random.sample(range(len(places)), at_most))
    return [places[number] for number in chosen]


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Iterator[Evidence]:
    """Counts for the table of faults; the test fails where something was lost or made up."""
    marker = request.node.get_closest_marker("fault")
    assert marker is not None, "a test with evidence says of which fault: @pytest.mark.fault(...)"
    evidence = Evidence()
    yield evidence
    if not request.node.stash.get(_PASSED, False):
        return
    assert evidence.strikes > 0, "nothing struck: this test would pass without its fault"
    assert (evidence.lost, evidence.phantom) == (0, 0), evidence
    _write(request.node, marker, evidence)


def _write(test: pytest.Item, marker: pytest.Mark, evidence: Evidence) -> None:
    note(
        marker.args[0],
        test=test.nodeid.partition("[")[0],
        database=os.environ.get("TEST_DATABASE", "sqlite"),
        evidence=evidence,
    )


def note(fault: str, *, test: str, database: str, evidence: Evidence) -> None:
    """Write it where TEST_EVIDENCE says, with what was tested, and when."""
    if "TEST_EVIDENCE" not in os.environ:
        return
    line = {
        "fault": fault,
        "test": test,
        "database": database,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "versions": _versions(),
        "bounds": [f"{what}={os.environ[what]}" for what in _BOUNDS if what in os.environ],
        **asdict(evidence),
    }
    with Path(os.environ["TEST_EVIDENCE"]).open("a") as file:  # one write: runs go side by side
        file.write(json.dumps(line) + "\n")


_BOUNDS = ("TEST_SAMPLE", "TEST_EXAMPLES")


@cache
def _versions() -> str:
    return (
        f"Python {platform.python_version()}, Django {version('django')},"
        f" Celery {version('celery')}"
    )


@cache
def commit() -> str:
    """What is tested: the commit, and whether files differ from it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=10"],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return described.stdout.strip() or "unknown"


# Hooks; tests/conftest.py takes them in.


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(what, rows=''): a row of the table of proofs")
    config.addinivalue_line("markers", "full: takes long; runs where TEST_FAULTS=full")
    config.addinivalue_line("markers", "one_database: the fault is elsewhere; the first will do")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if call.when == "call":
        item.stash[_PASSED] = report.passed
        marker = item.get_closest_marker("fault")
        if report.passed and marker and "evidence" not in getattr(item, "fixturenames", ()):
            _write(item, marker, Evidence(strikes=1))
    return report


def deselect_what_takes_long(config: pytest.Config, items: list[pytest.Item]) -> None:
    if IS_FULL:
        return
    long = [item for item in items if item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]
