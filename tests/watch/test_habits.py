"""A sweep that is cut short again and again, or sees nothing where it always saw something, is told of."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from reliable_effects.clock import DbNow
from reliable_effects.outbox.heartbeat import Swept, report, take_turn
from reliable_effects.outbox.models import Sweep
from reliable_effects.watch import status
from reliable_effects.watch.rules import needs_a_person

pytestmark = pytest.mark.django_db

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def _prune_has_run():
    take_turn("default", "prune", HOUR)


def saw(*runs: int, truncated: bool = False) -> None:
    for seen in runs:
        report("default", "prune", Swept(seen=seen, truncated=truncated))


def prune() -> status.SweepAge:
    [found] = [sweep for sweep in status.of("default").sweeps if sweep.name == "prune"]
    return found


def needs() -> list[str]:
    return [line for line in needs_a_person([status.of("default")]) if "prune" in line]


def aged(**columns: timedelta) -> None:
    Sweep.objects.update(**{name: DbNow() - age for name, age in columns.items()})


def test_runs_cut_short_for_minutes_need_a_person():
    """It falls behind: what it does not get to, nobody does."""
    saw(500, 500, 500, truncated=True)
    aged(truncated_since=HOUR)

    assert needs() == ["sweep prune on default was cut short 3 times running, for 1 h"]


@pytest.mark.parametrize(("runs", "since"), [(2, HOUR), (30, HOUR / 60), (99, 29 * HOUR / 60)])
def test_a_busy_minute_and_two_runs_an_hour_apart_need_nobody(runs, since):
    """What is long by design goes on in slices, every ten seconds, for less than three periods."""
    saw(*[500] * runs, truncated=True)
    aged(truncated_since=since)

    assert needs() == []


def test_one_run_that_came_to_its_end_begins_the_count_anew():
    """A busy hour is no defect."""
    saw(500, 500, truncated=True)
    aged(truncated_since=2 * HOUR)
    saw(500)

    saw(500, truncated=True)

    assert prune().truncated_runs == 1
    assert prune().truncated_for < HOUR


def test_silence_after_a_week_of_rows_needs_a_person():
    """Its question may have become the wrong one: an empty answer is the easiest to give."""
    saw(40)
    aged(rows_since=10 * DAY)
    saw(0)
    aged(rows_since=10 * DAY, empty_since=2 * HOUR)

    assert needs() == [
        "sweep prune on default has seen nothing for 2 h, and always saw something before"
    ]


@pytest.mark.parametrize(
    ("rows_since", "empty_since"),
    [
        (3 * DAY, 2 * HOUR),  # each night is quiet
        (10 * DAY, HOUR / 2),  # a pause
        (20 * DAY, 8 * DAY),  # it is the habit by now
    ],
)
def test_a_quiet_night_a_pause_and_a_new_habit_need_nobody(rows_since, empty_since):
    """An alarm that is often wrong is not read."""
    saw(40, 0)
    aged(rows_since=rows_since, empty_since=empty_since)

    assert needs() == []


def test_rows_after_silence_begin_a_new_habit():
    """One empty run in a week was enough: rows do not always come here."""
    saw(40, 0)
    aged(rows_since=10 * DAY, empty_since=2 * HOUR)

    saw(40)
    saw(0)

    row = Sweep.objects.get(name="prune")
    assert row.empty_since - row.rows_since < HOUR


def test_rows_in_each_run_keep_the_habit():
    """Since when, not how often: a period may be changed."""
    saw(40)
    aged(rows_since=10 * DAY)

    saw(40, 40)

    assert Sweep.objects.filter(name="prune", rows_since__lt=DbNow() - 9 * DAY).exists()


def test_a_run_that_failed_says_nothing_about_rows():
    """It had no time to look."""
    saw(40)

    saw(0, truncated=True)

    assert Sweep.objects.get(name="prune").empty_since is None


def test_a_report_is_one_statement():
    """It is written every two seconds on every database."""
    with CaptureQueriesContext(connection) as queries:
        saw(40)

    assert len(queries) == 1


def test_the_release_before_can_still_write_its_heartbeat():
    """It knows none of these columns, and runs beside this one during a deploy."""
    table = connection.ops.quote_name(Sweep._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (name, ran_at, seen, done, truncated)"
            " SELECT 'relay', ran_at, 0, 0, truncated FROM " + table
        )

    assert Sweep.objects.get(name="relay").truncated_runs == 0


def test_a_trouble_that_is_over_after_weeks_is_no_silence():
    """The sweep of the alerts sees what is wrong: nothing, on a good day."""
    Sweep.objects.create(
        name="alerts", rows_since=DbNow() - 10 * DAY, empty_since=DbNow() - 2 * HOUR
    )

    assert not [line for line in needs_a_person([status.of("default")]) if "seen nothing" in line]
