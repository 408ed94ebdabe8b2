"""The table of proofs is made from counts, and from nothing else."""

from __future__ import annotations

import json

from tests.faults.proof import page, rows


def line(**changes) -> str:
    counts = {"strikes": 3, "lost": 0, "phantom": 0, "extra_runs": 1}
    facts = {"fault": "cut", "rows": ["C3"], "test": "tests/a.py::test_b"}
    facts |= {"database": "sqlite", "commit": "abc"}
    return json.dumps(facts | counts | changes)


def test_cases_and_databases_of_one_test_are_one_row():
    """A reader looks for a fault, not for its forty cases."""
    [row] = rows([line(), line(rows=["C14"]), line(database="postgres")])

    assert (row.strikes, row.extra_runs) == (9, 3)
    assert row.matrix == {"C3", "C14"}
    assert row.databases == {"sqlite", "postgres"}


def test_the_page_says_what_was_counted():
    """Losses would be shown, not only runs that found none."""
    text = page(rows([line(), line(fault="kill", test="tests/a.py::test_c", lost=2)]))

    assert "**6 strikes: 2 lost, 0 phantom, 2 extra runs" in text
    assert "| kill | C3 | `tests/a.py::test_c` | sqlite | 3 | 2 | 0 | 1 |" in text
