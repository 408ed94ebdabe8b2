"""Schedule, reschedule, cancel: one row a job, in the caller's transaction, and each says what it did."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from threading import Thread

import pytest
from django.db import connection, connections, transaction
from django.test import TestCase

from reliable_effects import Event, WallClock
from reliable_effects.exceptions import (
    AlreadyScheduled,
    BadPayload,
    BadSchedule,
    BadSubject,
    LeaseLost,
    OutsideTransaction,
)
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.schedule.models import ScheduledJob
from reliable_effects.schedule.states import JobReason, JobState
from tests.outbox.conftest import carry_out, pending_delivery
from tests.shop.events import OrderPlaced, order_charged, order_placed, order_seen
from tests.shop.models import Order
from tests.trials.models import TrialExpiry

from .conftest import (
    DAY,
    HOUR,
    NEXT_YEAR,
    blocked_job,
    done_job,
    due_job,
    missed_job,
    scheduled,
    ticked,
)

pytestmark = pytest.mark.django_db
COMMITS = pytest.mark.django_db(transaction=True)


class Boom(Exception):
    """Something else in the view goes wrong."""


@transaction.atomic
def schedule_and_fail(order: Order) -> None:
    order_seen.schedule(order, at=NEXT_YEAR, key="a")
    raise Boom


# Row and change share one fate


@pytest.mark.fault("a job of next year is scheduled", rows="T8")
def test_a_job_is_one_row_and_nothing_else(order):
    """No message, no event, no delivery before its time."""
    with transaction.atomic():
        done = order_placed.schedule(
            order, OrderPlaced(coupon="TEN"), at=NEXT_YEAR, key="a", late=HOUR
        )

    job = ScheduledJob.objects.get()
    assert (done.job_id, done.at, done.changed, done.already_scheduled) == (
        job.pk, NEXT_YEAR, 1, False,
    )  # fmt: skip
    assert (job.event, job.subject_model, job.subject_pk) == (
        "shop.order_placed", "shop.order", str(order.pk),
    )  # fmt: skip
    assert (job.at, job.key, job.late, job.state) == (NEXT_YEAR, "a", HOUR, JobState.WAITING)
    assert (job.payload, job.version) == ({"coupon": "TEN"}, 1)
    assert not OutboxEvent.objects.exists()
    assert not Delivery.objects.exists()


def test_a_rolled_back_change_schedules_nothing(order):
    """A trial that never began does not end."""
    with pytest.raises(Boom):
        schedule_and_fail(order)

    assert not ScheduledJob.objects.exists()


@pytest.mark.parametrize(
    "call",
    [
        lambda order: order_seen.schedule(order, at=NEXT_YEAR, key="a"),
        lambda _: order_seen.reschedule(at=NEXT_YEAR, key="a"),
        lambda _: order_seen.cancel(key="a"),
    ],
    ids=["schedule", "reschedule", "cancel"],
)
def test_each_call_needs_an_open_transaction(order, call):
    """As emit does: job and change are one fact."""
    with pytest.raises(OutsideTransaction, match="needs an open transaction"):
        call(order)

    assert not ScheduledJob.objects.exists()


class InATestCase(TestCase):
    def test_the_test_s_own_transaction_does_not_count(self):
        """A forgotten atomic() fails in a TestCase too."""
        with pytest.raises(OutsideTransaction):
            order_seen.schedule(Order.objects.create(), at=NEXT_YEAR, key="a")


def test_a_wall_s_clock_is_kept_beside_the_instant(order):
    """The zone may change its rules before the day."""
    wall = WallClock(datetime(2099, 3, 29, 2, 30), "Europe/Berlin")

    job = scheduled(order, at=wall)

    assert job.at == wall.instant()
    assert job.wall_clock == "2099-03-29T02:30:00 Europe/Berlin"


def test_a_job_may_be_about_no_row():
    """An event without a subject."""
    night = Event("test.night", subject=None, payload=dict)

    with transaction.atomic():
        night.schedule(None, {"n": 1}, at=NEXT_YEAR, key="2099")

    job = ScheduledJob.objects.get()
    assert (job.subject_model, job.subject_pk) == ("", "")


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_job_lies_where_its_subject_is_written():
    """Or where using= says."""
    with transaction.atomic(using="other"):
        order = Order.objects.using("other").create()
        order_seen.schedule(order, at=NEXT_YEAR, key="a", using="other")
        moved = order_seen.reschedule(key="a", at=NEXT_YEAR + DAY, using="other")
        cancelled = order_seen.cancel(key="a", using="other")

    assert (moved.changed, cancelled.changed) == (1, 1)
    assert ScheduledJob.objects.using("other").get().state == JobState.CANCELLED
    assert not ScheduledJob.objects.using("default").exists()


# What is refused, before anything is written


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("key", None),
        ("key", 7),
        ("key", ""),
        ("key", "k" * 201),
        ("key", "a\0b"),
        ("key", "a\ud800b"),
        ("at", datetime(2099, 1, 1)),
        ("at", DAY),
        ("late", 60),
        ("late", timedelta(0)),
        ("on_conflict", "ignore"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(order, argument, value):
    """Far-future mistakes are found out now, or on the day."""
    options = {"at": NEXT_YEAR, "key": "a", argument: value}

    with transaction.atomic(), pytest.raises(BadSchedule, match=f"{argument}= ") as refused:
        order_seen.schedule(order, **options)

    assert refused.value.argument == argument
    assert not ScheduledJob.objects.exists()


def test_a_wrong_subject_or_payload_is_refused_as_by_emit(order):
    """The same checks, a month earlier."""
    with transaction.atomic():
        with pytest.raises(BadSubject):
            order_seen.schedule(Order(), at=NEXT_YEAR, key="a")
        with pytest.raises(BadSubject):
            order_seen.schedule(TrialExpiry(), at=NEXT_YEAR, key="a")
        with pytest.raises(BadPayload):
            order_seen.schedule(order, {"n": object()}, at=NEXT_YEAR, key="a")
        with pytest.raises(BadPayload):
            order_seen.schedule(order, {"n": "x" * 70_000}, at=NEXT_YEAR, key="a")

    assert not ScheduledJob.objects.exists()


def test_of_many_none_is_written_where_one_is_wrong(order):
    """Half a list would be found by nobody."""
    plans = [(order, None, NEXT_YEAR, "a"), (order, None, datetime(2099, 1, 1), "b")]

    with transaction.atomic(), pytest.raises(BadSchedule):
        order_seen.schedule_many(plans)
    with transaction.atomic(), pytest.raises(BadSchedule, match="twice"):
        order_seen.schedule_many([plans[0], plans[0]])

    assert not ScheduledJob.objects.exists()


@pytest.mark.parametrize("key", ["k" * 200, "é" * 200, "🙂" * 200, "a:b c/d\n"])
def test_a_key_may_be_any_text_of_200_characters(order, key):
    """Also where a character has four bytes."""
    job = scheduled(order, key=key)

    assert job.key == key


# A key is one job


def test_scheduling_a_standing_key_again_keeps_the_job(order):
    """A view that is retried schedules once."""
    job = scheduled(order, key="a")

    with transaction.atomic():
        again = order_seen.schedule(order, {"n": "2"}, at=NEXT_YEAR + DAY, key="a")

    assert (again.job_id, again.at, again.changed) == (job.pk, job.at, 0)
    assert again.already_scheduled
    assert ScheduledJob.objects.get().payload == {}


@pytest.mark.parametrize("make", [scheduled, blocked_job])
def test_replace_cancels_what_stands_and_schedules_anew(order, make):
    """Everything of it is new; what stood is kept as history."""
    job = make()

    with transaction.atomic():
        again = order_seen.schedule(
            order, {"n": "2"}, at=NEXT_YEAR + DAY, key=job.key, on_conflict="replace"
        )

    job.refresh_from_db()
    new = ScheduledJob.objects.standing().get()
    assert (again.job_id, again.changed, again.already_scheduled) == (new.pk, 2, True)
    assert (new.at, new.payload, new.subject_pk) == (NEXT_YEAR + DAY, {"n": "2"}, str(order.pk))
    assert job.state == JobState.CANCELLED


def test_raise_says_that_a_job_stands(order):
    """And of many, none is written."""
    scheduled(order, key="b")

    plans = [(order, None, NEXT_YEAR, "a"), (order, None, NEXT_YEAR, "b")]
    with transaction.atomic(), pytest.raises(AlreadyScheduled, match="'b'") as refused:
        order_seen.schedule_many(plans, on_conflict="raise")

    assert refused.value.key == "b"
    assert ScheduledJob.objects.count() == 1


@pytest.mark.parametrize("make", [done_job, missed_job])
def test_a_key_is_free_again_when_its_job_has_ended(order, make):
    """The next trial of the same user."""
    ended = make()

    job = scheduled(order, key=ended.key, on_conflict="raise")

    assert job.pk != ended.pk


def test_two_events_may_use_the_same_key(order):
    """Two apps that never heard of each other do not collide."""
    with transaction.atomic():
        order_seen.schedule(order, at=NEXT_YEAR, key="a", on_conflict="raise")
        order_charged.schedule(order, at=NEXT_YEAR, key="a", on_conflict="raise")
        cancelled = order_seen.cancel(key="a")

    assert cancelled.changed == 1
    assert ScheduledJob.objects.standing().get().event == "shop.order_charged"


def test_keys_that_differ_in_case_are_two(order):
    """Whatever the database's collation thinks of it."""
    scheduled(order, key="straße")
    scheduled(order, key="STRASSE", on_conflict="raise")
    scheduled(order, key="Straße", on_conflict="raise")

    assert ScheduledJob.objects.count() == 3


def test_what_became_of_a_key_is_told_of_that_key_alone(order):
    """Not of one that differs in case."""
    scheduled(order, key="Straße")

    with transaction.atomic():
        cancelled = order_seen.cancel(key="straße")

    assert (cancelled.changed, cancelled.state) == (0, None)


def test_a_renamed_event_knows_its_earlier_jobs(order):
    """Keys are of the event, not of its name."""
    old = Event("test.old_name", subject="shop.Order")
    with transaction.atomic():
        old.schedule(order, at=NEXT_YEAR, key="a")
    renamed = Event("test.new_name", subject="shop.Order", aliases=["test.old_name2"])
    renamed.identity = "test.old_name"

    with transaction.atomic():
        again = renamed.schedule(order, at=NEXT_YEAR, key="a")

    assert again.already_scheduled


def test_many_are_scheduled_in_a_few_statements(order, django_assert_max_num_queries):
    """A month of trials is no thousand round trips."""
    standing = scheduled(order, key="7")
    plans = [(order, None, NEXT_YEAR, str(n)) for n in range(100)]

    with transaction.atomic(), django_assert_max_num_queries(8):
        done = order_seen.schedule_many(plans)

    assert [one.changed for one in done].count(1) == 99
    assert (done[7].job_id, done[7].already_scheduled) == (standing.pk, True)


def test_any_number_is_scheduled_at_once(order):
    """However many parameters one statement may have."""
    plans = [(order, None, NEXT_YEAR, str(n)) for n in range(2500)]

    with transaction.atomic():
        done = order_seen.schedule_many(plans)

    assert [one.changed for one in done] == [1] * 2500
    assert ScheduledJob.objects.count() == 2500


# Reschedule and cancel


def test_a_rescheduled_job_is_the_same_job_at_another_time(order):
    """Key, payload and late stay."""
    job = scheduled(order, payload={"n": "1"}, late=HOUR)

    with transaction.atomic():
        moved = order_seen.reschedule(key=job.key, at=NEXT_YEAR + DAY)

    assert (moved.changed, moved.state, bool(moved)) == (1, "waiting", True)
    again = ScheduledJob.objects.get()
    assert (again.pk, again.at, again.payload, again.late) == (
        job.pk, NEXT_YEAR + DAY, {"n": "1"}, HOUR,
    )  # fmt: skip


def test_rescheduling_to_an_instant_takes_it_off_the_wall(order):
    """Else the wall would move it back."""
    job = scheduled(order, at=WallClock(datetime(2099, 7, 1, 9), "Europe/Berlin"))

    with transaction.atomic():
        order_seen.reschedule(key=job.key, at=NEXT_YEAR)

    assert ScheduledJob.objects.get().wall_clock == ""


def test_a_blocked_job_can_be_rescheduled():
    """It waits again."""
    job = blocked_job()

    with transaction.atomic():
        order_seen.reschedule(key=job.key, at=NEXT_YEAR)

    job.refresh_from_db()
    assert (job.state, job.reason) == (JobState.WAITING, JobReason.NONE)


def test_a_cancelled_job_never_runs():
    """And says so to whoever asks again."""
    job = due_job()

    with transaction.atomic():
        cancelled = order_seen.cancel(key=job.key)
        again = order_seen.cancel(key=job.key)
    ticked(job)

    assert (cancelled.changed, cancelled.state) == (1, "cancelled")
    assert (again.changed, again.state, bool(again)) == (0, "cancelled", False)
    assert job.state == JobState.CANCELLED
    assert not OutboxEvent.objects.exists()


def test_who_comes_too_late_is_told_what_it_is():
    """Its time has come; or there never was one."""
    job = due_job()
    ticked(job)

    with transaction.atomic():
        cancelled = order_seen.cancel(key=job.key)
        moved = order_seen.reschedule(key=job.key, at=NEXT_YEAR)
        unknown = order_seen.cancel(key="never")

    assert (cancelled.changed, cancelled.state) == (0, "done")
    assert (moved.changed, moved.state) == (0, "done")
    assert (unknown.changed, unknown.state) == (0, None)


# In effects


@COMMITS
def test_a_repeated_run_of_an_effect_schedules_nothing_twice(order, make_effect):
    """Also when what the first run scheduled has ended by then."""
    runs = []

    def remind(order, _ctx):
        with transaction.atomic():
            runs.append(order_seen.schedule(order, at=NEXT_YEAR, key="a", on_conflict="replace"))
        if len(runs) == 1:
            ScheduledJob.objects.update(at=NEXT_YEAR.replace(year=2001))
            ticked()
            raise Boom

    delivery = pending_delivery(make_effect(remind), subject=order)
    carry_out(delivery, delivery)

    first, second = runs
    assert (second.job_id, second.changed, second.already_scheduled) == (first.job_id, 0, True)
    assert ScheduledJob.objects.count() == 1


@COMMITS
def test_an_effect_that_cancels_and_schedules_leaves_its_job_however_often_it_runs(
    order, make_effect
):
    """Each run cancels what the run before it has made; the last one's stands."""
    scheduled(order, key="a")  # of an earlier day
    runs = []

    def move(order, _ctx):
        with transaction.atomic():
            order_seen.cancel(key="a")
            runs.append(order_seen.schedule(order, at=NEXT_YEAR, key="a"))
        if len(runs) < 3:
            raise Boom

    delivery = pending_delivery(make_effect(move), subject=order)
    carry_out(delivery, delivery, delivery)

    assert [run.changed for run in runs] == [1, 1, 1]
    assert ScheduledJob.objects.standing().get().pk == runs[-1].job_id


@COMMITS
def test_what_ran_is_not_scheduled_again_by_an_effect_that_cancels_first(order, make_effect):
    """The first run's job has had its event by then."""
    runs = []

    def move(order, _ctx):
        with transaction.atomic():
            order_seen.cancel(key="a")
            runs.append(order_seen.schedule(order, at=NEXT_YEAR, key="a"))
        if len(runs) == 1:
            ScheduledJob.objects.update(at=NEXT_YEAR.replace(year=2001))
            ticked()
            raise Boom

    delivery = pending_delivery(make_effect(move), subject=order)
    carry_out(delivery, delivery)

    assert (runs[1].job_id, runs[1].changed) == (runs[0].job_id, 0)
    assert ScheduledJob.objects.get().state == JobState.DONE


@COMMITS
def test_what_others_have_cancelled_a_repeated_run_leaves_cancelled(order, make_effect):
    """A person's decision is not overridden by a retry."""
    runs = []

    def remind(order, _ctx):
        with transaction.atomic():
            runs.append(order_seen.schedule(order, at=NEXT_YEAR, key="a"))
        if len(runs) == 1:
            raise Boom

    delivery = pending_delivery(make_effect(remind), subject=order)
    carry_out(delivery)
    with transaction.atomic():
        order_seen.cancel(key="a")
    carry_out(delivery)

    assert (runs[1].job_id, runs[1].changed) == (runs[0].job_id, 0)
    assert ScheduledJob.objects.get().state == JobState.CANCELLED


@COMMITS
def test_within_one_run_the_last_replacement_wins(order, make_effect):
    """Also in a repeated run, which ends as the first one did."""
    runs = []

    def choose(order, _ctx):
        with transaction.atomic():
            order_seen.schedule(order, at=NEXT_YEAR, key="a")
            done = order_seen.schedule(order, at=NEXT_YEAR + DAY, key="a", on_conflict="replace")
        runs.append(done)
        if len(runs) == 1:
            raise Boom

    delivery = pending_delivery(make_effect(choose), subject=order)
    carry_out(delivery, delivery)

    assert [run.at for run in runs] == [NEXT_YEAR + DAY] * 2
    assert runs[0].job_id == runs[1].job_id
    assert ScheduledJob.objects.standing().get().at == NEXT_YEAR + DAY


@COMMITS
def test_what_an_effect_rolled_back_and_schedules_again_is_one_job(order, make_effect):
    """A repeated run finds it, however many tries the first one needed."""
    runs = []

    def remind(order, _ctx):
        with suppress(Boom):
            schedule_and_fail(order)
        with transaction.atomic():
            runs.append(order_seen.schedule(order, at=NEXT_YEAR, key="a"))
        if len(runs) == 1:
            ScheduledJob.objects.update(at=NEXT_YEAR.replace(year=2001))
            ticked()
            raise Boom

    delivery = pending_delivery(make_effect(remind), subject=order)
    carry_out(delivery, delivery)

    assert runs[0].job_id == runs[1].job_id
    assert ScheduledJob.objects.count() == 1


@COMMITS
def test_a_worker_whose_lease_is_over_schedules_nothing(order, make_effect):
    """What it wrote would stand beside what the next one writes."""
    errors = []

    def too_long(order, _ctx):
        Delivery.objects.update(claim_token=1)
        try:
            with transaction.atomic():
                order_seen.schedule(order, at=NEXT_YEAR, key="a")
        except LeaseLost as error:
            errors.append(error)
            raise

    carry_out(pending_delivery(make_effect(too_long), subject=order))

    assert len(errors) == 1
    assert not ScheduledJob.objects.exists()


# Two at once


@COMMITS
@pytest.mark.skipif(connection.vendor == "sqlite", reason="one writer at a time")
@pytest.mark.parametrize("commits", [True, False])
def test_of_two_that_schedule_one_key_at_once_one_is_told_that_it_stands(order, commits):
    """The second waits for the first; and where that is rolled back, it is the first."""
    results = []

    def second() -> None:
        with transaction.atomic():
            results.append(order_seen.schedule(order, at=NEXT_YEAR, key="a"))
        connections.close_all()

    thread = Thread(target=second)
    with transaction.atomic():
        order_seen.schedule(order, at=NEXT_YEAR, key="a")
        thread.start()
        thread.join(0.3)  # it waits for us, or has not begun: both are well
        transaction.set_rollback(not commits)
    thread.join(30)

    [result] = results
    assert result.already_scheduled is commits
    assert ScheduledJob.objects.count() == 1
