"""When: instants, the clocks of walls, and what is refused before anything is written."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from reliable_effects import WallClock
from reliable_effects.exceptions import BadSchedule
from reliable_effects.schedule.times import checked_late, moment


@pytest.mark.parametrize(
    ("wall", "zone", "instant"),
    [
        # A plain summer's day, and one in winter
        (datetime(2027, 7, 1, 12), "Europe/Berlin", datetime(2027, 7, 1, 10, tzinfo=UTC)),
        (datetime(2027, 1, 1, 12), "Europe/Berlin", datetime(2027, 1, 1, 11, tzinfo=UTC)),
        # A gap: 02:30 is not shown, and becomes 03:30
        (datetime(2027, 3, 28, 2, 30), "Europe/Berlin", datetime(2027, 3, 28, 1, 30, tzinfo=UTC)),
        (datetime(2027, 3, 14, 2, 30), "America/New_York", datetime(2027, 3, 14, 7, 30, tzinfo=UTC)),
        # A whole day that was never shown
        (datetime(2011, 12, 30, 9), "Pacific/Apia", datetime(2011, 12, 30, 19, tzinfo=UTC)),
        # A fold: 02:30 is shown twice, and the first is meant
        (datetime(2027, 10, 31, 2, 30), "Europe/Berlin", datetime(2027, 10, 31, 0, 30, tzinfo=UTC)),
        (datetime(2027, 11, 7, 1, 30), "America/New_York", datetime(2027, 11, 7, 5, 30, tzinfo=UTC)),
        # Half an hour of daylight saving
        (datetime(2027, 10, 3, 2, 15), "Australia/Lord_Howe", datetime(2027, 10, 2, 15, 45, tzinfo=UTC)),
        (datetime(2027, 7, 1, 12), "UTC", datetime(2027, 7, 1, 12, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_a_wall_s_clock_is_an_instant(wall, zone, instant):
    """Gaps shift forward, folds take the first."""
    assert WallClock(wall, zone).instant() == instant


def test_the_second_time_of_a_fold_is_written_as_an_instant():
    """There is one way to write a time that a wall shows twice."""
    wall = datetime(2027, 10, 31, 2, 30, fold=1)

    assert WallClock(wall, "Europe/Berlin") == WallClock(wall.replace(fold=0), "Europe/Berlin")
    assert WallClock(wall, "Europe/Berlin").wall.fold == 0


def test_a_wall_s_clock_comes_back_as_it_was_written():
    """Rows keep it as text."""
    clock = WallClock(datetime(2027, 3, 28, 2, 30, 0, 5), "America/Argentina/ComodRivadavia")

    assert WallClock.read(str(clock)) == clock
    assert str(WallClock(datetime(2027, 3, 28, 2, 30), "Europe/Berlin")) == (
        "2027-03-28T02:30:00 Europe/Berlin"
    )


@pytest.mark.parametrize(
    ("wall", "zone", "error", "named"),
    [
        (datetime(2027, 1, 1, tzinfo=UTC), "Europe/Berlin", ValueError, "wall="),
        ("2027-01-01", "Europe/Berlin", TypeError, "wall="),
        (date(2027, 1, 1), "Europe/Berlin", TypeError, "wall="),
        (datetime(2027, 1, 1), "Europe/Belrin", ValueError, "zone='Europe/Belrin'"),
        (datetime(2027, 1, 1), "Europe", ValueError, "zone='Europe'"),  # a folder of zones
        (datetime(2027, 1, 1), "", ValueError, "zone=''"),
        (datetime(2027, 1, 1), "/etc/passwd", ValueError, "zone="),
        (datetime(2027, 1, 1), "../UTC", ValueError, "zone="),
        (datetime(2027, 1, 1), "UTC\0", ValueError, "zone="),
        (datetime(2027, 1, 1), None, TypeError, "zone=None"),
        (datetime(9999, 12, 31, 23), "America/New_York", ValueError, "too far"),
        (datetime(9999, 1, 2), "UTC", ValueError, "too far"),
        (datetime(1, 1, 1), "Asia/Tokyo", ValueError, "too far"),
    ],
)
def test_what_no_wall_shows_is_refused_by_name(wall, zone, error, named):
    """At once, where it is written, and not when the time has come."""
    with pytest.raises(error, match="WallClock: ") as refused:
        WallClock(wall, zone)

    assert named in str(refused.value)


def test_an_instant_is_kept_in_utc():
    """Whatever zone it was given in."""
    at = datetime(2027, 1, 1, 3, tzinfo=timezone(timedelta(hours=9)))

    kept = moment("shop.order_seen", at)

    assert (kept.at, kept.at.tzinfo) == (datetime(2026, 12, 31, 18, tzinfo=UTC), UTC)
    assert kept.wall_clock == ""


def test_a_naive_datetime_is_refused_with_both_ways_to_write_it(settings):
    """Who meant which, only the caller knows; both can be pasted."""
    settings.TIME_ZONE = "Europe/Vienna"

    with pytest.raises(BadSchedule) as refused:
        moment("shop.order_seen", datetime(2027, 3, 28, 2, 30))

    assert refused.value.argument == "at"
    assert "WallClock(datetime(2027, 3, 28, 2, 30), 'Europe/Vienna')" in str(refused.value)
    assert "at=datetime(2027, 3, 28, 2, 30, tzinfo=UTC)" in str(refused.value)


@pytest.mark.parametrize(
    "at",
    [
        None,
        "2027-01-01",
        date(2027, 1, 1),
        timedelta(days=1),
        1_800_000_000,
        datetime(9999, 12, 31, 23, 59, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, tzinfo=timezone(-timedelta(hours=5))),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))),
    ],
)
def test_what_is_no_time_is_refused_by_name(at):
    """A far edge that one database keeps and another does not is found out here."""
    with pytest.raises(BadSchedule, match="at= is ") as refused:
        moment("shop.order_seen", at)

    assert refused.value.argument == "at"


@pytest.mark.parametrize("late", [timedelta(0), -timedelta(1), timedelta(days=9999), 60, "1 h"])
def test_what_is_no_span_to_be_late_is_refused_by_name(late):
    """60 of what?"""
    with pytest.raises(BadSchedule) as refused:
        checked_late("shop.order_seen", late)

    assert refused.value.argument == "late"
