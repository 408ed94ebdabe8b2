"""
The database refuses each statement in turn: a deadlock, a conflict, a lock that was not to be had.

Where two connections met cannot be chosen on a real server, so a wrapper raises the driver's own
error in the place of each statement, or after it: then it was done, and the error is a lost answer
(on SQLite, too, which has no wire). None of it is the effect's failure, and none is counted as one.
test_conflicts.py has a real one for each database.
"""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from tests.faults.evidence import IS_FULL, sampled

pytestmark = pytest.mark.django_db(transaction=True)

_A_FEW = 1  # statement of each scenario, in a quick run: other ones with each seed


def _errors() -> list[Callable[[], Exception]]:
    """What the driver raises where a statement lost against another one."""
    match connection.vendor:
        case "postgresql":
            from psycopg import errors  # noqa: PLC0415  # only where it is used

            kinds = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable)
            return [lambda kind=kind: kind("as provoked by this test") for kind in kinds]
        case "mysql":
            from MySQLdb import OperationalError  # noqa: PLC0415  # only where it is used

            codes = (1213, 1205)  # deadlock, lock wait timeout
            return [lambda code=code: OperationalError(code, "provoked") for code in codes]
        case _:
            return [_locked]


def _locked() -> Exception:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error


class _Refusing:
    """Counts statements, and refuses one of them."""

    def __init__(self, number: int, error: Callable[[], Exception], *, is_applied: bool) -> None:
        self.number, self.error, self.is_applied = number, error, is_applied
        self.seen = 0
        self.refused = ""

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        self.seen += 1
        if self.seen != self.number:
            return execute(sql, params, many, context)
        self.refused = sql
        if self.is_applied and not sql.startswith("BEGIN"):
            execute(sql, params, many, context)
        with connection.wrap_database_errors:  # as from the server
            raise self.error()


@contextmanager
def _refusing(
    number: int, error: Callable[[], Exception], *, is_applied: bool
) -> Iterator[_Refusing]:
    refusing = _Refusing(number, error, is_applied=is_applied)
    with connection.execute_wrapper(refusing):
        yield refusing


@pytest.mark.fault("each statement in turn is refused: deadlock, conflict, lock timeout", rows="D6")
@pytest.mark.timeout(600)  # at full length
def test_whichever_statement_is_refused_all_is_done_once(scenario, evidence):
    """Nobody is to blame for a deadlock, least of all the effect whose row was in it."""
    kinds = _errors()
    for is_applied in sampled((False, True), _A_FEW):
        numbers = sampled(range(1, _statements(scenario) + 1), _A_FEW)
        places = itertools.product(numbers, kinds if IS_FULL else [random.choice(kinds)])
        for number, error in places:
            scenario.begin()
            with _refusing(number, error, is_applied=is_applied) as refusing:
                scenario.run()
            scenario.end()

            assert refusing.refused, f"there were not so many statements as {number}"
            scenario.judge(evidence, f"{number}, {is_applied=}, {error()!r}: {refusing.refused}")


def _statements(scenario) -> int:
    """How many there are when none is refused."""
    scenario.begin()
    with _refusing(0, _locked, is_applied=False) as refusing:
        scenario.run()
    return refusing.seen
