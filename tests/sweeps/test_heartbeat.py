"""Whoever comes first takes the turn; what swept when is a row that alarms can read."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from reliable_effects import clock
from reliable_effects.clock import DbNow
from reliable_effects.outbox import heartbeat
from reliable_effects.outbox.heartbeat import CLAIMS, Swept, note_claim, report, take_turn
from reliable_effects.outbox.models import Sweep
from tests.sweeps.conftest import HOUR, MINUTE, SECOND, at_once, refusing

pytestmark = pytest.mark.django_db(transaction=True)


def test_ten_threads_get_one_turn():
    """Every worker of a fleet asks every second; one of them works."""
    take_turn("default", "relay", MINUTE)
    Sweep.objects.update(ran_at=DbNow() - HOUR)

    turns = at_once(10, lambda: take_turn("default", "relay", MINUTE))

    assert len(turns) == 10
    assert len([turn for turn in turns if turn is not None]) == 1


def test_ten_threads_get_one_turn_where_nobody_ever_swept():
    """The first row is a race of its own."""
    turns = at_once(10, lambda: take_turn("default", "relay", MINUTE))

    assert len(turns) == 10
    [turn] = [turn for turn in turns if turn is not None]
    assert turn.since_last is None


def test_the_next_turn_comes_after_the_period_and_says_how_long_it_was():
    """By the database's clock: those of the workers differ."""
    take_turn("default", "relay", MINUTE)

    too_early = take_turn("default", "relay", MINUTE)
    with clock.moved(HOUR):
        turn = take_turn("default", "relay", MINUTE)

    assert too_early is None
    assert turn is not None
    assert timedelta(0) <= turn.since_last - HOUR < MINUTE


def test_turns_of_different_sweeps_are_apart():
    """Pruning is no reason not to rescue."""
    take_turn("default", "prune", MINUTE)

    assert take_turn("default", "rescue", MINUTE) is not None


@pytest.mark.parametrize(("truncated", "is_early"), [(True, True), (False, False)])
def test_what_was_cut_short_may_go_on_soon(truncated, is_early):
    """There was more to do than one sweep may take."""
    take_turn("default", "prune", HOUR)
    report("default", "prune", Swept(truncated=truncated))

    with clock.moved(11 * SECOND):
        turn = take_turn("default", "prune", HOUR, soon=10 * SECOND)

    assert (turn is not None) == is_early


def test_a_report_is_kept_until_the_next():
    """A sweep that sees nothing for too long, or is cut short, is an alarm."""
    take_turn("default", "relay", MINUTE)

    report("default", "relay", Swept(seen=5, done=3, truncated=True))

    row = Sweep.objects.get(name="relay")
    assert (row.seen, row.done, row.truncated) == (5, 3, True)


def test_a_busy_queue_is_noted_once_in_ten_seconds(monkeypatch):
    """A write for each hint would cost more than the hint."""
    seconds = [100.0]
    monkeypatch.setattr(heartbeat, "monotonic", lambda: seconds[0])

    with CaptureQueriesContext(connection) as first:
        note_claim("default", "effects")
    with CaptureQueriesContext(connection) as soon:
        note_claim("default", "effects")
    with CaptureQueriesContext(connection) as other_queue:
        note_claim("default", "payments")
    seconds[0] += 10.1
    with CaptureQueriesContext(connection) as later:
        note_claim("default", "effects")

    assert [bool(len(queries)) for queries in (first, soon, other_queue, later)] == [
        True, False, True, True,
    ]  # fmt: skip
    assert set(Sweep.objects.values_list("name", flat=True)) == {
        CLAIMS + "effects",
        CLAIMS + "payments",
    }


def test_a_note_that_cannot_be_written_stops_no_work(caplog):
    """It is about the queue; the delivery is what matters."""
    note_claim("default", "effects")
    heartbeat.forget_claims()

    with refusing("reliable_effects_sweep", "UPDATE", "1 = 1"):
        note_claim("default", "effects")

    assert "could not note that effects is consumed" in caplog.text
