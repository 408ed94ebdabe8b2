"""A canary first, then faster; a halt when too many fail, and never by a few."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_effects.console.redriving import ramp
from reliable_effects.console.redriving.ramp import Halt, Release, Standing, Wait, decide

NOW = datetime(2027, 1, 1, tzinfo=UTC)


def standing(**said: int) -> Standing:
    usual = {
        "canary": 10, "rate": 600, "halt_percent": 50, "pace": 10, "unreleased": 1000,
        "under_way": 0, "overdue": 0, "known": 0, "failing": 0,
    }  # fmt: skip
    return Standing(**usual | said)


@pytest.mark.parametrize(
    ("stands", "next_"),
    [
        # The canary
        (standing(pace=0), Release(10, 10)),
        (standing(under_way=10), Wait("the canary ends first")),
        (standing(under_way=1, known=9), Wait("the canary ends first")),
        (standing(known=10), Release(20, 20, grown=True)),
        (standing(known=10, failing=4), Release(20, 20, grown=True)),
        (standing(known=10, failing=5), Halt()),
        (standing(known=4, failing=4), Release(10, 10)),  # too few to halt by
        (standing(known=5, failing=5), Halt()),
        (standing(under_way=5, known=5, failing=5), Halt()),  # the rest need not end for that
        # One of it does not end: it is waited for no longer than the bound.
        (standing(overdue=1, known=9), Release(19, 20, grown=True)),
        # All of it was left alone: the next ones.
        (standing(), Release(10, 10)),
        # Faster
        (standing(pace=20, under_way=20), Wait("those under way end first")),
        (standing(pace=20, under_way=5, known=15), Release(15, 20)),
        (standing(pace=20, under_way=15, known=20), Release(25, 40, grown=True)),
        (standing(pace=20, under_way=5, known=15, failing=8), Halt()),
        (standing(pace=400, known=400), Release(600, 600, grown=True)),
        (standing(pace=600, known=600), Release(600, 600, grown=True)),
        # A small rate
        (standing(canary=5, rate=5, pace=5, known=5), Release(10, 10, grown=True)),
        # The end
        (standing(pace=20, unreleased=0, under_way=3), Wait("all are released")),
        (standing(unreleased=0, known=10, failing=10), Wait("all are released")),
    ],
)
def test_what_is_next(stands, next_):
    assert decide(stands) == next_


@pytest.mark.parametrize("pace", [10, 40])
def test_where_nothing_ends_nothing_more_is_released(pace):
    """It is paused, or nobody works: more would only lie beside it."""
    next_ = decide(standing(pace=pace, overdue=pace))

    assert isinstance(next_, Wait)
    assert "paused" in next_.why


numbers = st.integers(0, 2000)


@given(
    st.builds(
        Standing,
        canary=st.integers(1, 1000), rate=st.integers(1, 30_000), halt_percent=st.integers(1, 100),
        pace=numbers, unreleased=numbers, under_way=numbers, overdue=numbers,
        known=numbers, failing=numbers,
    )
)  # fmt: skip
def test_whatever_stands_the_bounds_hold(stands):
    """Never by fewer than five; never faster than twice; never more under way than the pace."""
    next_ = decide(stands)

    if isinstance(next_, Halt):
        assert stands.known >= 5
        assert stands.failing * 100 >= stands.halt_percent * stands.known
    elif isinstance(next_, Release):
        assert next_.pace <= max(2 * stands.pace, stands.canary)
        assert next_.at_most <= next_.pace
        # What an earlier ramp has left under way does not count.
        under_way = stands.under_way if stands.pace else 0
        assert next_.at_most + under_way <= max(next_.pace, under_way)


def test_the_rate_is_a_bound_over_any_minute():
    """The sweep comes when it comes, and what it may release was paid for by time."""
    paid, times, now = None, [], NOW
    for turn in range(120):
        now += timedelta(seconds=(1, 5, 3, 30)[turn % 4])
        count = ramp.allowance(60, paid, now)
        paid = ramp.paid(count, 60, paid, now) if count else paid
        times += [now] * count

    for begin in times[60:]:  # the first minute is the canary's
        assert sum(begin <= at < begin + timedelta(minutes=1) for at in times) <= 60 + 11


@pytest.mark.parametrize("rate", [1, 7, 60, 600])
def test_a_small_rate_moves_too(rate):
    """Turns are shorter than what one delivery has to wait for."""
    paid, released = ramp.paid(1, rate, None, NOW), 1
    for turn in range(1, 12 * 30 + 1):
        now = NOW + timedelta(seconds=5 * turn)
        count = ramp.allowance(rate, paid, now)
        if count:
            paid, released = ramp.paid(count, rate, paid, now), released + count

    assert released == pytest.approx(30 * rate, rel=0.1, abs=2)


def test_how_long_it_takes_is_said_for_all_of_them():
    assert ramp.takes(40_000, 600) == timedelta(minutes=67)
