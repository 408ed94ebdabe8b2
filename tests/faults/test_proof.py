"""The page of proofs is made from what was counted, and from nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.faults.matrix import ROOT, Marked, marked
from tests.faults.mutants.mutant import GUARD
from tests.faults.proof import PAGE, counted, current, merged, page, stored

TEST = "tests/a.py::TestIt::test_b"
MARKS = [Marked("tests/a.py", "test_b", ("C3",)), Marked("tests/a.py", "test_c", ("C3", "C4"))]


def line(**changes) -> str:
    facts = {
        "fault": "cut", "test": TEST, "database": "sqlite", "date": "2026-11-29", "commit": "abc",
        "versions": "Django 5.2", "bounds": [], "strikes": 3, "lost": 0, "phantom": 0,
        "extra_runs": 1,
    }  # fmt: skip
    return json.dumps(facts | changes)


def test_cases_and_databases_of_one_test_are_one_result():
    """A reader looks for a fault, not for its forty cases."""
    [result] = counted([line(), line(strikes=6), line(database="postgres")])

    assert (result.strikes, result.extra_runs) == (12, 3)
    assert result.databases == {"sqlite", "postgres"}


def test_a_later_result_takes_the_place_of_the_same_test_s():
    """All of it takes hours; what was mended is run alone."""
    kept = counted([line(), line(test="tests/a.py::test_c")])
    new = counted([line(fault="cut anew", strikes=9)])

    assert [(r.fault, r.strikes) for r in merged(kept, new)] == [("cut anew", 9), ("cut", 3)]


def test_results_of_tests_and_mutants_that_are_gone_are_not_told():
    """They prove nothing of today's code."""
    results = counted([line(), line(fault=f"{GUARD}nobody's", test="tests/b.py::test_d")])

    assert current(results) == []
    assert len(current(stored())) == len(stored())


def test_the_page_says_what_was_counted():
    """Losses would be shown, not only runs that found none."""
    text = page(counted([line(), line(fault="kill", test="tests/a.py::test_c", lost=2)]), MARKS)

    assert "**6 strikes: 2 lost, 0 phantom, 2 extra runs" in text
    assert "| kill | C3 C4 | [`test_c`](../../tests/a.py) | sqlite | 3 | 2 | 0 | 1 |" in text


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("C3", "[`TestIt::test_b`](../../tests/a.py) | passed 2026-11-29, 3 strikes |"),
        ("C4", "[`test_c`](../../tests/a.py) | not run by `make proof` yet |"),
        ("D4", " | not tested here: Two servers"),
    ],
)
def test_each_row_leads_to_its_tests_and_their_last_result(row, told):
    """Who doubts one fault looks for its row."""
    lines = page(counted([line()]), MARKS).splitlines()

    [found] = [text for text in lines if text.startswith(f"| {row} |")]
    assert told in found


def test_the_page_is_that_of_the_stored_results():
    """`make proof ARGS=--page` makes it anew, after a test was marked, moved or renamed."""
    assert PAGE.read_text() == page(stored(), marked())


def test_the_command_hands_no_settings_to_the_tests_that_it_runs():
    """The example project chooses its own as soon as anything of it is imported."""
    environment = {n: v for n, v in os.environ.items() if n != "DJANGO_SETTINGS_MODULE"}
    asked = "import os, tests.faults.proof; print(os.environ.get('DJANGO_SETTINGS_MODULE'))"
    ran = subprocess.run(
        [sys.executable, "-c", asked], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip

    assert ran.stdout.strip() == "None"
