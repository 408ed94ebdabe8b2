"""How long the tests of each folder took: each run adds up its own, tests/run.py those of all."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

_seconds: Counter[str] = Counter()


def slowest(runs: Mapping[str, Path], number: int = 10) -> list[str]:
    """The folders that took longest, a line each; *runs* are names, and the files they wrote."""
    told = {name: json.loads(file.read_text()) for name, file in runs.items() if file.exists()}
    total = sum((Counter(seconds) for seconds in told.values()), Counter())
    return [
        f"{all_runs:.0f} s in {folder}: "
        + ", ".join(f"{name} {told[name][folder]:.0f}" for name in told if folder in told[name])
        for folder, all_runs in total.most_common(number)
    ]


# Hooks; tests/conftest.py takes them in.


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _seconds[report.nodeid.partition("::")[0].rpartition("/")[0]] += report.duration


def pytest_sessionfinish() -> None:
    if "TEST_DURATIONS" in os.environ:
        Path(os.environ["TEST_DURATIONS"]).write_text(json.dumps(_seconds))
