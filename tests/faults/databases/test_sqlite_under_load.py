"""
SQLite with several writers: web, workers and sweeps on one file, and nobody is told "locked".

In: the documented settings (WAL, IMMEDIATE, a timeout), and writes that are offered at a steady
rate whether or not the file keeps up. The promise is about errors and losses, not about the rate.
"""

from __future__ import annotations

import pytest

from tests.faults.evidence import IS_FULL

from .conftest import sqlite_only

pytestmark = sqlite_only

RATE = 200 if IS_FULL else 100  # write transactions per second, in all
SECONDS = 60 if IS_FULL else 5
PER_ORDER = 4  # write transactions: the order, and its three effects at least


@pytest.mark.fault("SQLite under web, two workers and sweeps", rows="D6")
@pytest.mark.timeout(400)
def test_nobody_is_told_that_the_database_is_locked(make_project, evidence):
    """
    A writer that waits its turn is served within the timeout: with WAL and IMMEDIATE nobody holds
    the file but for one short transaction.
    """
    project = make_project()

    with project.effects_worker(processes=2):
        with project.clients(rate=RATE / PER_ORDER, count=RATE * SECONDS // PER_ORDER) as clients:
            assert clients.wait(4 * SECONDS + 30) == 0
        outcome = project.outcome(within=240)

    assert not project.errors()
    assert "locked" not in project.logged() + project.logged("clients")
    assert outcome.extra_runs == 0
    evidence.judged(outcome, strikes=outcome.orders)  # fmt: skip
