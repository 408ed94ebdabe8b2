"""A short run from end to end: `make chaos` does what it says, and says what it saw."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos import faults

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(420)
def test_a_short_run_is_sound_and_tells_its_figures(tmp_path):
    """On a file, without a broker: the fewest processes that still kill, lose and recover."""
    figures = tmp_path / "figures.json"
    command = "--seconds 12 --pace 1.5 --seed 5 --database sqlite --broker none"
    environment = {name: value for name, value in os.environ.items() if name[:5] != "TEST_"}

    ran = subprocess.run(
        [
            *(sys.executable, "-m", "tests.chaos", *command.split()),
            *("--faults", "kill_child,lose_tables", "--json", str(figures)),
        ],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = json.loads(figures.read_text())
    assert told["faults"].keys() == {"kill_child", "lose_tables"}
    assert told["done"] > 0
    assert not any(told["findings"].values())
    assert "Sound. SEED=5" in ran.stdout


def test_an_unknown_fault_is_refused_by_name():
    ran = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--faults", "kill_kenny"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert ran.returncode == 2
    assert "kill_kenny" in ran.stdout
    assert "kill_child" in ran.stdout


def test_the_docs_name_each_fault_and_its_rows():
    page = (ROOT / "docs/explanation/chaos.md").read_text()
    told: dict[str, set[str]] = {}
    for names, rows in re.findall(r"^\| (`[^|]*) \|[^|]*\| ([^|]*) \|$", page, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            told[name] = set(rows.split())

    assert told.keys() == set(faults.all_names())
    for name, rows in told.items():
        assert set(faults.rows_of(name).split()) <= rows
