"""
What is said of a database that is away: the beginning at once, then a line a minute.

A minute passes here by moving back when something was said; the clock is the machine's own.
"""

from __future__ import annotations

import logging

import pytest
from django.db import DataError, InterfaceError, OperationalError

from reliable_effects.outbox import outage

WHAT = "the database default failed; trying again"


@pytest.fixture(autouse=True)
def _nothing_was_said():
    outage.forget()
    yield
    outage.forget()


def fails(error: Exception, *, what: str = WHAT, times: int = 1) -> None:
    for _ in range(times):
        try:
            raise error
        except type(error) as raised:
            outage.tell(what, raised)


def a_minute_passes() -> None:
    for trouble in outage._troubles.values():
        trouble.said_at -= 61


def test_an_outage_is_told_at_once_and_without_a_traceback(caplog):
    """The line says what fails and why, on one line; some drivers use several."""
    fails(OperationalError("connection refused\n\tIs the server running?"))

    (record,) = caplog.records
    assert record.getMessage() == f"{WHAT}: connection refused Is the server running?"
    assert record.levelno == logging.ERROR
    assert not record.exc_info


def test_while_it_lasts_there_is_a_line_a_minute_that_counts_the_others(caplog):
    """Hundreds of times in ten minutes: how often is worth a number, not a line each."""
    fails(OperationalError("refused"), times=5)
    a_minute_passes()
    fails(OperationalError("refused"), times=3)
    a_minute_passes()
    fails(OperationalError("refused"))

    assert caplog.messages == [
        f"{WHAT}: refused",
        f"{WHAT} (and 4 times in between): refused",
        f"{WHAT} (and 2 times in between): refused",
    ]


def test_what_failed_once_a_minute_has_nothing_in_between(caplog):
    """The count is of what was not said."""
    fails(OperationalError("refused"))
    a_minute_passes()
    fails(OperationalError("refused"))

    assert caplog.messages == [f"{WHAT}: refused"] * 2


def test_another_trouble_is_told_at_once(caplog):
    """Of another thing, or of another kind: one outage must not hide the next."""
    fails(OperationalError("refused"))
    fails(OperationalError("refused"), what="sweep rescue on other failed")
    fails(InterfaceError("connection is closed"))

    assert caplog.messages == [
        f"{WHAT}: refused",
        "sweep rescue on other failed: refused",
        f"{WHAT}: connection is closed",
    ]


@pytest.mark.parametrize(
    "defect", [ValueError("of the project"), DataError("value too long")], ids=["code", "value"]
)
def test_what_does_not_pass_is_told_each_time_with_its_traceback(caplog, defect):
    """It is a defect, and waiting does not mend it; who looks at the log must find where."""
    fails(defect, times=3)

    assert caplog.messages == [WHAT] * 3
    assert [record.exc_info[1] for record in caplog.records] == [defect] * 3


def test_at_debug_what_is_told_of_an_outage_has_its_traceback(caplog):
    """For the rare day on which where it was met matters; still a line a minute."""
    error = OperationalError("refused")
    with caplog.at_level(logging.DEBUG, logger="reliable_effects"):
        fails(error, times=3)

    (record,) = caplog.records
    assert record.exc_info[1] is error
