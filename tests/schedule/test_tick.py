"""A tick: each job whose time has come becomes one event, whoever ticks, and whatever dies."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from reliable_effects import Event, WallClock, signals
from reliable_effects.clock import DbNow, read_clock
from reliable_effects.outbox.heartbeat import Swept
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.sweeps import sweep
from reliable_effects.schedule.models import ScheduledJob
from reliable_effects.schedule.states import JobReason, JobState
from reliable_effects.schedule.tables import JobTable, TypedTable
from reliable_effects.schedule.tick import TICK, emit_due, retry_blocked, tick
from reliable_effects.schedule.zones import resolve_anew
from tests.outbox.conftest import listening
from tests.shop.events import order_seen
from tests.shop.models import Order
from tests.sweeps.conftest import at_once, refusing
from tests.trials.models import Reminder, TrialExpiry

from .conftest import (
    DAY,
    HOUR,
    MINUTE,
    NEXT_YEAR,
    SECOND,
    blocked_job,
    cancelled_job,
    done_job,
    due_job,
    events_of,
    missed_job,
    reminder,
    scheduled,
    ticked,
    trial,
)

pytestmark = pytest.mark.django_db
COMMITS = pytest.mark.django_db(transaction=True)

JOBS = JobTable()
ROUNDS = 5  # of a race


def retried(*rows: Any) -> None:
    """What a minute later looks at all that is blocked."""
    for table in (JOBS, TypedTable(TrialExpiry)):
        retry_blocked("default", table, Swept())
    for row in rows:
        row.refresh_from_db()


@pytest.fixture
def seen_effect(make_effect):
    return make_effect(on=order_seen)


# When its time has come


def test_a_due_job_becomes_its_event_with_all_its_deliveries(seen_effect):
    """In one transaction, as if it had been emitted now."""
    order = Order.objects.create()
    job = due_job(order, payload={"by": "anna"})

    swept = ticked(job)

    event = OutboxEvent.objects.get()
    assert (event.name, event.subject_pk, event.payload, event.source) == (
        "shop.order_seen", str(order.pk), {"by": "anna"}, "schedule",
    )  # fmt: skip
    assert Delivery.objects.get().effect == seen_effect.name
    assert (job.state, job.key_held) == (JobState.DONE, None)
    assert read_clock("default") - job.ended_at < MINUTE
    assert (swept.seen, swept.done, swept.truncated) == (1, 1, False)


def test_what_is_not_due_or_has_ended_is_left_alone():
    """A tick is about now."""
    jobs = [scheduled(), due_job(ago=-HOUR), done_job(), cancelled_job(), missed_job()]
    states = [job.state for job in jobs]

    ticked(*jobs)

    assert [job.state for job in jobs] == states
    assert not OutboxEvent.objects.exists()


@pytest.mark.fault("no tick for a day", rows="T1")
def test_after_a_day_without_a_tick_all_is_emitted_once():
    """Late, in the order in which it was due, and not lost."""
    jobs = [due_job(ago=DAY - n * HOUR) for n in range(5)]

    ticked(*jobs)
    ticked(*jobs)

    assert [events_of(job) for job in jobs] == [1] * 5
    assert {job.state for job in jobs} == {JobState.DONE}


def test_what_was_missed_comes_by_and_by(settings):
    """After an outage, not everything at the same second; the longest due first."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "TICK_LIMIT": 2}
    jobs = [due_job(ago=HOUR - n * MINUTE) for n in range(5)]

    swept = [ticked(*jobs) for _ in range(3)]

    assert [(one.done, one.truncated) for one in swept] == [(2, True), (2, True), (1, False)]
    assert [job.state for job in jobs] == [JobState.DONE] * 5
    first = OutboxEvent.objects.order_by("emitted_at", "pk").values_list("subject_pk", flat=True)
    assert set(first[:2]) == {jobs[0].subject_pk, jobs[1].subject_pk}


def test_many_are_emitted_in_a_few_statements(seen_effect, django_assert_max_num_queries):
    """A hundred trials that end at midnight are no thousand round trips."""
    for _ in range(50):
        due_job()

    with django_assert_max_num_queries(20):
        emit_due("default", JOBS, Swept())

    assert Delivery.objects.filter(effect=seen_effect.name).count() == 50


def test_several_jobs_about_one_subject_are_several_events():
    """Each job is a fact of its own."""
    order = Order.objects.create()
    jobs = [due_job(order), due_job(order)]

    ticked(*jobs)

    assert events_of(jobs[0]) == 2


def test_a_job_about_no_row_needs_no_subject():
    """A night has none."""
    night = Event("test.night", subject=None, payload=dict)
    with transaction.atomic():
        night.schedule(None, {"n": 1}, at=read_clock("default") - SECOND, key="a")

    ticked()

    assert OutboxEvent.objects.get().payload == {"n": 1}


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_each_database_has_its_own_jobs():
    """And their events lie beside their subjects."""
    with transaction.atomic(using="other"):
        order = Order.objects.using("other").create()
        now = read_clock("other")
        order_seen.schedule(order, at=now - SECOND, key="a", using="other")

    ticked()
    assert not OutboxEvent.objects.using("other").exists()
    ticked(using="other")

    assert OutboxEvent.objects.using("other").get().subject_pk == str(order.pk)
    assert not OutboxEvent.objects.exists()


# Never twice, never lost


@pytest.mark.fault("four ticks at once, as of two beats", rows="T3 W19")
@COMMITS
def test_ticks_at_once_emit_each_job_once():
    """Two beats, or a worker and a beat."""
    jobs = [due_job() for _ in range(20)]

    at_once(4, lambda: sweep("default", TICK, now=True))
    ticked(*jobs)  # SQLite may have refused some: "database is locked"

    assert [events_of(job) for job in jobs] == [1] * 20


@pytest.mark.usefixtures("seen_effect")
@pytest.mark.parametrize("lost", ["the event", "the job's end"])
def test_a_restore_of_one_of_both_tables_makes_no_second_event(lost):
    """The event's id is the job's for ever."""
    job = due_job()
    ticked(job)
    event, delivery = OutboxEvent.objects.get().pk, Delivery.objects.get().key
    if lost == "the event":
        OutboxEvent.objects.all().delete()

    ScheduledJob.objects.filter(pk=job.pk).update(
        state=JobState.WAITING, ended_at=None, key_held=job.pk
    )
    ticked(job)

    assert job.state == JobState.DONE
    assert OutboxEvent.objects.get().pk == event
    assert Delivery.objects.get().key == delivery


@COMMITS
@pytest.mark.skipif(connection.vendor == "sqlite", reason="one writer at a time")
@pytest.mark.parametrize("commits", [True, False])
def test_a_cancel_that_has_not_committed_is_passed_over(commits):
    """The tick waits for nobody; the job is the cancel's, or the next tick's."""
    job = due_job()

    with transaction.atomic():
        cancelled = order_seen.cancel(key=job.key)
        [swept] = at_once(1, lambda: tick("default"))
        transaction.set_rollback(not commits)
    ticked(job)

    assert cancelled.changed == 1
    assert swept.seen == 0
    assert job.state == (JobState.CANCELLED if commits else JobState.DONE)
    assert events_of(job) == (0 if commits else 1)


@COMMITS
@pytest.mark.parametrize("call", ["cancel", "reschedule", "replace"])
def test_of_a_call_and_a_tick_at_once_exactly_one_wins(call):
    """And the caller is told which; neither is given up as a deadlock."""
    for _ in range(ROUNDS):
        job = due_job()

        def move(job=job):
            with transaction.atomic():
                match call:
                    case "cancel":
                        return order_seen.cancel(key=job.key).changed
                    case "reschedule":
                        return order_seen.reschedule(key=job.key, at=NEXT_YEAR).changed
                    case _:
                        order = Order(pk=job.subject_pk)
                        done = order_seen.schedule(
                            order, at=NEXT_YEAR, key=job.key, on_conflict="replace"
                        )
                        return done.changed - 1  # the new one is there in either case

        turns = [move, lambda: tick("default")]
        told = [r for r in at_once(2, lambda turns=turns: turns.pop()()) if isinstance(r, int)]
        ticked(job)

        assert told == [1 - events_of(job)]
        assert (job.state == JobState.DONE) == (told == [0])


@COMMITS
def test_what_a_tick_could_not_commit_is_as_it_was():
    """The database refuses the end of the job: its event is not there either."""
    job = due_job()

    with refusing(ScheduledJob._meta.db_table, "UPDATE", "OLD.state = 0"):
        tick("default")

    job.refresh_from_db()
    assert job.state == JobState.WAITING
    assert not OutboxEvent.objects.exists()
    ticked(job)
    assert (job.state, events_of(job)) == (JobState.DONE, 1)


# One bad job stops no other


@COMMITS
def test_a_job_whose_subject_is_gone_is_blocked_and_comes_back_with_it():
    """Visible, not lost; and nobody else waits for it."""
    order = Order.objects.create()
    bad, good = due_job(order, ago=HOUR), due_job()
    pk = order.pk
    order.delete()

    with listening(signals.job_blocked) as told:
        ticked(bad, good)

    assert (bad.state, bad.reason) == (JobState.BLOCKED, JobReason.SUBJECT_GONE)
    assert good.state == JobState.DONE
    assert [(one["job"], one["reason"], one["sender"]) for one in told] == [
        (bad, "SUBJECT_GONE", ScheduledJob)
    ]
    retried(bad)
    assert bad.state == JobState.BLOCKED
    Order.objects.create(pk=pk)
    retried(bad)
    assert (bad.state, bad.reason, events_of(bad)) == (JobState.DONE, JobReason.NONE, 1)


@pytest.mark.parametrize(
    "columns",
    [
        {"event": "shop.next_release"},
        {"subject_model": "shop.cart"},
    ],
)
def test_a_job_of_another_release_waits_for_it(columns):
    """During a deploy the old workers do not know its event, or its model by that name."""
    bad, good = due_job(**columns), due_job()

    ticked(bad, good)

    assert (bad.state, bad.reason) == (JobState.BLOCKED, JobReason.UNKNOWN_EVENT)
    assert good.state == JobState.DONE
    ScheduledJob.objects.filter(pk=bad.pk).update(
        event="shop.order_seen", subject_model="shop.order"
    )
    retried(bad)
    assert bad.state == JobState.DONE


@pytest.mark.parametrize("columns", [{"version": 2}, {"payload": []}, {"payload": "text"}])
def test_a_job_whose_payload_cannot_be_read_is_blocked(columns):
    """It was written by a later release, or edited."""
    bad, good = due_job(**columns), due_job()

    ticked(bad, good)

    assert (bad.state, bad.reason) == (JobState.BLOCKED, JobReason.UNREADABLE)
    assert good.state == JobState.DONE


def test_an_old_payload_is_brought_up_to_date():
    """The event is of this release."""
    job = due_job(payload={"n": 1})
    later = Event(
        "test.later", subject="shop.Order", version=2, upcast={1: lambda old: {"n": old["n"] + 1}}
    )
    ScheduledJob.objects.update(event=later.name)

    ticked(job)

    event = OutboxEvent.objects.get()
    assert (event.payload, event.version) == ({"n": 2}, 2)


def test_a_job_whose_event_cannot_be_written_is_blocked_alone(make_effect, caplog):
    """The project's own code may raise: here the name of a debt."""
    owing = make_effect(on=order_seen)
    bad, good = due_job(ago=HOUR), due_job()

    def name_it(order):
        if str(order.pk) == bad.subject_pk:
            raise RuntimeError
        return "debt"

    owing.owed(since="placed_at", grace=HOUR, debt=name_it)(Order.objects.all)

    ticked(bad, good)

    assert (bad.state, bad.reason) == (JobState.BLOCKED, JobReason.FAILED)
    assert (good.state, events_of(good)) == (JobState.DONE, 1)
    assert events_of(bad) == 0
    assert f"key={bad.key!r}" in caplog.text


def test_blocked_jobs_are_asked_about_once_a_minute():
    """And not at each tick."""
    bad = blocked_job(event="shop.next_release")
    ScheduledJob.objects.filter(pk=bad.pk).update(event="shop.order_seen")

    ticked(bad)
    assert bad.state == JobState.DONE

    again = blocked_job()
    ticked(again)
    assert again.state == JobState.BLOCKED


@COMMITS
def test_a_table_that_cannot_be_read_stops_no_other(caplog):
    """A project's own table may be in the middle of a migration."""
    job = due_job()
    trial()

    with connection.schema_editor() as editor:
        editor.alter_db_table(TrialExpiry, "trials_trialexpiry", "trials_elsewhere")
    try:
        swept = ticked(job)
    finally:
        with connection.schema_editor() as editor:
            editor.alter_db_table(TrialExpiry, "trials_elsewhere", "trials_trialexpiry")

    assert job.state == JobState.DONE
    assert swept.truncated
    assert "could not sweep trials.TrialExpiry" in caplog.text


# Late


def test_however_late_is_the_default():
    """What was promised is owed."""
    job = due_job(ago=timedelta(days=400))

    ticked(job)

    assert job.state == JobState.DONE


@COMMITS
def test_later_than_it_may_be_a_job_is_missed_and_said(caplog):
    """A greeting for yesterday's birthday is worse than none; but somebody should know."""
    late, in_time = due_job(ago=2 * HOUR, late=HOUR), due_job(ago=HOUR / 2, late=HOUR)

    with listening(signals.job_missed) as told, caplog.at_level(logging.ERROR):
        ticked(late, in_time)

    assert (late.state, events_of(late)) == (JobState.MISSED, 0)
    assert in_time.state == JobState.DONE
    assert (late.key_held, late.ended_at is None) == (None, False)
    [one] = told
    assert one["job"] == late
    assert HOUR < one["late"] < 3 * HOUR
    assert f"missed job shop.order_seen key={late.key!r}" in caplog.text


def test_what_this_release_does_not_know_it_does_not_miss(monkeypatch):
    """During a deploy the job is blocked, and the release that knows it decides."""
    unknown = due_job(event="shop.of_the_next_release", ago=2 * HOUR, late=HOUR)
    typed = reminder(ago=2 * HOUR)
    monkeypatch.setattr(Reminder, "emits", "shop.of_the_next_release")

    ticked(unknown, typed)

    assert (unknown.state, unknown.reason) == (JobState.BLOCKED, JobReason.UNKNOWN_EVENT)
    assert typed.state == JobState.BLOCKED


def test_a_blocked_job_is_missed_in_its_time():
    """It does not come back a month later."""
    job = blocked_job(ago=2 * HOUR, late=HOUR)

    retried(job)

    assert job.state == JobState.MISSED


# Walls


def put_wall(job: Any, wall: WallClock, by: timedelta) -> None:
    """As a row that was written under rules by which the wall showed that time *by* later."""
    type(job).objects.filter(pk=job.pk).update(wall_clock=str(wall), at=wall.instant() + by)


def on_the_wall(moment: datetime) -> WallClock:
    return WallClock(moment.replace(tzinfo=None, microsecond=0), "UTC")


@pytest.mark.parametrize("make", [scheduled, trial])
@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_a_change_of_a_zone_s_rules_is_applied_before_the_day(make, by):
    """Berlin stops changing its clocks: nine o'clock stays nine o'clock."""
    job = make()
    wall = on_the_wall(read_clock("default") + 10 * HOUR)
    put_wall(job, wall, by)

    for table in (JOBS, TypedTable(TrialExpiry)):
        resolve_anew("default", table)

    job.refresh_from_db()
    assert job.at == wall.instant()
    assert job.wall_clock == str(wall)


def test_a_tick_asks_for_such_changes_by_itself():
    """Once an hour."""
    job = scheduled()
    wall = on_the_wall(read_clock("default") + 10 * HOUR)
    put_wall(job, wall, HOUR)

    ticked(job)

    assert job.at == wall.instant()


@pytest.mark.parametrize("make", [due_job, trial])
def test_what_turns_out_to_be_later_is_not_emitted_yet(make):
    """The rules changed within the last hour."""
    job = make()
    wall = on_the_wall(read_clock("default") + HOUR)
    put_wall(job, wall, -2 * HOUR)

    ticked(job)

    assert (job.state, job.at) == (JobState.WAITING, wall.instant())
    assert events_of(job) == 0


@pytest.mark.parametrize("text", ["nonsense", "2020-01-01T00:00:00 Mars/Olympus", "x y z"])
def test_a_wall_that_cannot_be_read_leaves_the_instant(text):
    """A machine without that zone: the instant was a fact when it was written."""
    job = due_job(wall_clock=text)

    ticked(job)

    assert (job.state, events_of(job)) == (JobState.DONE, 1)


def test_far_away_walls_are_not_looked_at():
    """A tick's work does not grow with them."""
    job = scheduled(at=WallClock(datetime(2099, 7, 1, 9), "Europe/Berlin"))
    ScheduledJob.objects.update(at=NEXT_YEAR)

    resolve_anew("default", JOBS)

    job.refresh_from_db()
    assert job.at == NEXT_YEAR


# What has ended is forgotten, in time


@pytest.mark.parametrize(
    ("make", "age", "stays"),
    [
        (done_job, 8 * DAY, False),
        (cancelled_job, 8 * DAY, False),
        (done_job, 6 * DAY, True),
        (missed_job, 8 * DAY, True),
        (blocked_job, 8 * DAY, True),
        (due_job, 8 * DAY, True),
    ],
)
def test_jobs_that_ended_well_are_deleted_after_the_retention(make, age, stays, settings):
    """What was missed, or waits, is a person's to decide."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "RETENTION": 7 * DAY}
    ended = {} if make in (blocked_job, due_job) else {"ended_at": DbNow() - age}
    job = make(ago=age, **ended)

    tick("default")

    assert ScheduledJob.objects.filter(pk=job.pk).exists() == stays


def test_a_tick_takes_its_turn_as_any_sweep():
    """And it is called in its period by workers, beat and effects_worker."""
    job = due_job()

    first, second = sweep("default", TICK), sweep("default", TICK)

    job.refresh_from_db()
    assert job.state == JobState.DONE
    assert first is not None
    assert second is None
