"""What happened is counted once, in its own five minutes, whoever dies meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from reliable_effects.clock import in_utc, moved
from reliable_effects.console.rollups import counting
from reliable_effects.console.rollups.models import SPAN, EffectRollup, RollupCursor, bucket_of
from reliable_effects.console.rollups.sweep import ROLLUP, rollup
from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.states import Reason, State
from reliable_effects.outbox.sweeps import sweep
from tests.console.rollups.conftest import (
    COLUMNS,
    MINUTE,
    POISONED,
    ago,
    counted,
    emitted,
    ended,
    failed,
)

pytestmark = pytest.mark.django_db

Outcome = Attempt.Outcome


class Killed(BaseException):
    """What a test raises where a process might die."""


def test_each_thing_is_counted_for_its_effect(counted_to):
    """One sweep over all that happened since the last."""
    counted_to()
    for effect, n in (("shop.wrap", 3), ("shop.charge_card", 2)):
        for _ in range(n):
            ended(10, effect)
    ended(10, state=State.SKIPPED, reason=Reason.NOT_NEEDED)
    ended(10, state=State.CANCELLED)
    emitted(10, "shop.wrap", "shop.charge_card")
    failed(10)
    failed(10, outcome=Outcome.LOST)
    failed(10, outcome=Outcome.SKIPPED)
    failed(10, outcome=Outcome.UNCERTAIN)
    failed(10, **POISONED)

    rollup("default")

    assert {column: counted(column) for column in COLUMNS} == {
        "emitted": {"shop.wrap": 1, "shop.charge_card": 1},
        "succeeded": {"shop.wrap": 3, "shop.charge_card": 2},
        "skipped": {"shop.wrap": 1},
        "failed": {"shop.wrap": 3},
        "poisoned": {"shop.wrap": 1},
        "uncertain": {"shop.wrap": 1},
    }


def test_each_lies_in_the_five_minutes_of_its_own_instant(counted_to):
    """A sweep that comes late tells nothing of when."""
    counted_to()
    instants = [ended(minutes).finished_at for minutes in (50, 33, 33, 2)]
    instants += [emitted(minutes).emitted_at for minutes in (41, 3)]
    instants += [failed(minutes).ended_at for minutes in (20, 19, 5)]

    rollup("default")

    told = sorted(
        bucket
        for row in EffectRollup.objects.all()
        for bucket in [in_utc(row.bucket)] * (row.succeeded + row.emitted + row.failed)
    )
    assert told == sorted(map(bucket_of, instants))
    assert all(int(bucket.timestamp()) % 300 == 0 for bucket in told)


def test_counting_begins_with_the_first_sweep():
    """What was there before would be told as if it were all of it."""
    ended(10)
    failed(10)

    rollup("default")
    rollup("default")

    assert not EffectRollup.objects.exists()
    with moved(5 * MINUTE):
        ended(-1)
        failed(-1)
        rollup("default")
    assert (counted("succeeded"), counted("failed")) == ({"shop.wrap": 1}, {"shop.wrap": 1})


def test_nothing_is_counted_twice(counted_to):
    """By the next sweep, which goes on where this one ended."""
    counted_to()
    ended(10), emitted(10), failed(10)

    for later in range(3):
        with moved(later * 5 * MINUTE):
            rollup("default")

    assert [counted(column) for column in COLUMNS[:4]] == [{"shop.wrap": 1}] * 2 + [
        {},
        {"shop.wrap": 1},
    ]


def test_what_is_committed_within_a_minute_of_its_instant_is_counted(counted_to):
    """Rows carry the instant of their statement, and are seen when their transaction ends."""
    counted_to()
    ended(2), emitted(2), failed(2)
    rollup("default")

    # A sweep was here already when these are committed, with instants of before it.
    ended(0.8), emitted(0.8), failed(0.8)
    with moved(MINUTE):
        rollup("default")

    assert [counted(column) for column in ("succeeded", "emitted", "failed")] == [
        {"shop.wrap": 2}
    ] * 3


def test_what_is_counted_in_one_bucket_by_two_sweeps_adds_up(counted_to):
    """A bucket is longer than the period."""
    counted_to()
    at = bucket_of(ago(20)) + timedelta(seconds=30)
    ended(0, finished_at=at)
    with moved(bucket_of(ago(20)) + 2.5 * MINUTE - timezone.now()):
        rollup("default")
    ended(0, finished_at=at + 2 * MINUTE)

    rollup("default")

    row = EffectRollup.objects.get()
    assert (in_utc(row.bucket), row.succeeded) == (bucket_of(at), 2)


@pytest.mark.parametrize("statement", ["rollupcursor", "effectrollup"])
def test_a_kill_in_the_middle_loses_and_doubles_nothing(counted_to, statement):
    """A slice and the place that it leads to are one transaction."""
    counted_to()
    for minutes in (40, 30, 20, 10):
        ended(minutes), emitted(minutes), failed(minutes)

    writes = deadly = kills = 0

    def dying(execute, sql, params, many, context):
        nonlocal writes
        if statement in sql and sql.startswith(("INSERT", "UPDATE")):
            writes += 1
            if writes == deadly:
                raise Killed
        return execute(sql, params, many, context)

    for deadly in range(1, 40):  # noqa: B007  # `dying` reads it
        writes = 0
        with connection.execute_wrapper(dying):
            try:
                rollup("default")
            except Killed:
                kills += 1
            else:
                break

    assert kills >= 3
    assert [counted(column) for column in ("succeeded", "emitted", "failed")] == [
        {"shop.wrap": 4}
    ] * 3


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_slice_with_too_many_rows_is_cut_smaller(counted_to, monkeypatch, most):
    """And nothing of it is skipped."""
    for source in ("_ENDED", "_EMITTED"):
        cut = replace(getattr(counting, source), most=most)
        monkeypatch.setattr(counting, source, cut)
    monkeypatch.setattr(counting, "_MOST_ATTEMPTS", most)
    counted_to()
    for minutes in (10, 10.1, 10.2, 10.3, 10.4, 30, 2):
        ended(minutes), emitted(minutes), failed(minutes)

    rollup("default")

    assert [counted(column) for column in ("succeeded", "emitted", "failed")] == [
        {"shop.wrap": 7}
    ] * 3


def test_more_rows_of_one_instant_than_a_slice_has_are_counted_together(counted_to, monkeypatch):
    """One statement wrote them; an instant cannot be cut."""
    monkeypatch.setattr(counting, "_ENDED", replace(counting._ENDED, most=2))
    counted_to()
    at = ago(10)
    for moment in (at, at, at, at, at + timedelta(milliseconds=1)):
        ended(0, finished_at=moment)

    rollup("default")

    assert counted("succeeded") == {"shop.wrap": 5}


def test_a_sweep_that_ran_out_of_time_says_so_and_goes_on(counted_to, monkeypatch):
    """After a long outage: each turn a slice at least, of each kind."""
    counted_to()
    for minutes in (40, 30, 20, 10):
        ended(minutes), emitted(minutes)
    monkeypatch.setattr("reliable_effects.console.rollups.sweep._COUNTING", 0.0)

    first = sweep("default", ROLLUP, now=True)
    assert first is not None
    assert first.truncated
    assert (counted("succeeded"), counted("emitted")) == ({"shop.wrap": 1}, {"shop.wrap": 1})
    runs = [sweep("default", ROLLUP, now=True) for _ in range(6)]

    assert not runs[-1].truncated
    assert (counted("succeeded"), counted("emitted")) == ({"shop.wrap": 4}, {"shop.wrap": 4})


def test_an_outage_longer_than_rows_are_kept_is_not_counted_from_its_beginning(counted_to):
    """What would be deleted at once is not worth the time."""
    counted_to(timedelta(days=30))
    ended(60 * 24 * 20)
    ended(60 * 24 * 2)

    rollup("default")

    assert counted("succeeded") == {"shop.wrap": 1}


def test_a_clock_that_was_put_back_a_little_counts_nothing_twice(counted_to):
    """The place lies ahead, and is waited for."""
    cursor = counted_to(-2 * MINUTE)
    ended(3), emitted(3)

    rollup("default")

    assert not EffectRollup.objects.exists()
    assert in_utc(RollupCursor.objects.get().ended_to) == in_utc(cursor.ended_to)


def test_a_place_far_ahead_is_taken_back(counted_to):
    """A clock that was wrong for a moment does not stop the counting for a year."""
    counted_to(-timedelta(days=365))
    rollup("default")
    ended(-2), emitted(-2)

    with moved(10 * MINUTE):
        rollup("default")

    assert (counted("succeeded"), counted("emitted")) == ({"shop.wrap": 1}, {"shop.wrap": 1})


def test_attempts_whose_ids_begin_anew_are_counted(counted_to):
    """The table was emptied under the running workers."""
    cursor = counted_to()
    RollupCursor.objects.update(attempt=10**9)
    rollup("default")
    failed(10)

    rollup("default")

    assert counted("failed") == {"shop.wrap": 1}
    assert RollupCursor.objects.get().attempt < 10**9
    assert cursor.pk == RollupCursor.THE_ONE


def test_attempts_that_were_pruned_are_not_counted_again(counted_to):
    """The newest are gone; those before them were counted."""
    counted_to()
    failed(10)
    newest = failed(10)
    rollup("default")
    newest.delete()

    rollup("default")

    assert counted("failed") == {"shop.wrap": 2}


def test_an_attempt_without_its_delivery_keeps_no_other_from_being_counted(counted_to):
    """Somebody deleted the row by hand; nobody knows of which effect it was."""
    counted_to()
    attempt = failed(10)
    failed(10)
    Delivery.objects.filter(pk=attempt.delivery_id)._raw_delete("default")

    rollup("default")

    assert counted("failed") == {"shop.wrap": 1}


def test_names_that_a_collation_takes_for_equal_stop_nothing(counted_to):
    """MariaDB does; a name written by hand may be anything."""
    counted_to()
    for name in ("shop.wrap", "Shop.Wrap", "shop.wrap "):
        failed(10, name)
        failed(20, name)

    rollup("default")

    assert sum(counted("failed").values()) == 6
    assert SPAN == 5 * MINUTE
