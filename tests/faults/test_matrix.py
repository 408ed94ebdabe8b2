"""No row of the fault matrix is forgotten, and no test names one that is not there."""

from __future__ import annotations

from pathlib import Path

from tests.chaos import faults as of_chaos
from tests.faults.matrix import NOT_HERE, ROOT, ROWS, marked

NAMED = {row for mark in marked() for row in mark.rows}


def test_every_row_has_a_test_or_says_why_it_has_none():
    """What nobody names would be taken for tested."""
    assert set(ROWS) - NAMED == set(NOT_HERE)


def test_a_row_that_cannot_be_tested_here_is_there_and_has_no_test():
    """Else the page would say both."""
    assert set(NOT_HERE) <= set(ROWS)
    assert not set(NOT_HERE) & NAMED


def test_tests_and_chaos_name_rows_that_are_there():
    """A slip of the pen would prove a row that nobody has written."""
    promises = {f"P{n}" for n in range(1, 11)}  # chaos strikes at some of these, too
    of_blows = {row for name in of_chaos.all_names() for row in of_chaos.rows_of(name).split()}

    assert set(ROWS) >= NAMED
    assert set(ROWS) | promises >= of_blows


def test_marks_are_read_wherever_they_stand():
    """They are read from the text, of decorators and modules; elsewhere they would not be seen."""
    marking = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if "pytest.mark.fault(" in path.read_text() and path != Path(__file__)
    }

    assert {mark.file for mark in marked()} == marking
