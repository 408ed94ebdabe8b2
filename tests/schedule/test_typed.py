"""Jobs with columns of their own: rows of a project's model that are the subjects of their events."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime

import pytest
from django import forms
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, models, transaction
from django.db.models import F
from django.db.models.signals import pre_delete

from reliable_effects import WallClock, signals
from reliable_effects.clock import DbNow, read_clock
from reliable_effects.exceptions import BadSchedule
from reliable_effects.models import AbstractScheduledJob
from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.states import State
from reliable_effects.schedule.forget import forget_ended
from reliable_effects.schedule.states import JobState
from reliable_effects.schedule.tables import TypedTable, typed_models
from reliable_effects.schedule.tick import tick
from tests.outbox.conftest import listening
from tests.shop.models import LedgerEntry, Order
from tests.sweeps.conftest import at_once
from tests.trials.events import reminded, trial_expired
from tests.trials.models import Reminder, TrialExpiry

from .conftest import DAY, HOUR, MINUTE, NEXT_YEAR, SECOND, events_of, reminder, ticked, trial

pytestmark = pytest.mark.django_db
COMMITS = pytest.mark.django_db(transaction=True)

BERLIN = WallClock(datetime(2099, 3, 29, 2, 30), "Europe/Berlin")


def forgotten() -> None:
    forget_ended("default", TypedTable(Reminder))
    forget_ended("default", TypedTable(TrialExpiry))


# When its time has come


@COMMITS
def test_the_row_itself_is_what_effects_get(make_effect):
    """With its columns, and no payload to keep in step."""
    got = []
    make_effect(lambda row, _: got.append((row.pk, row.plan, row.order)), on=trial_expired)
    job = trial(plan="gold")

    ticked(job)
    deliver("default", list(Delivery.objects.values_list("pk", flat=True)))

    assert got == [(job.pk, "gold", job.order)]
    assert OutboxEvent.objects.get().subject_model == "trials.trialexpiry"


def test_a_done_row_is_marked_and_its_key_is_free():
    """The next trial of the same order may have it."""
    job = trial(key="a")

    ticked(job)
    again = trial(key="a", order=job.order, ago=-HOUR)

    assert (job.state, job.key) == (JobState.DONE, None)
    assert read_clock("default") - job.ended_at < MINUTE
    assert (again.state, again.key) == (JobState.WAITING, "a")


@COMMITS
def test_ticks_at_once_emit_each_row_once():
    """As with jobs of ours."""
    rows = [trial() for _ in range(10)]

    at_once(3, lambda: tick("default"))
    ticked(*rows)

    assert [events_of(row) for row in rows] == [1] * 10


def test_a_row_that_came_back_from_a_backup_is_no_second_event():
    """Its job_id is what the event's id is derived from."""
    job = trial()
    ticked(job)

    TrialExpiry.objects.update(state=JobState.WAITING, ended_at=None)
    ticked(job)

    assert (job.state, events_of(job)) == (JobState.DONE, 1)


@COMMITS
def test_a_class_says_how_late_its_rows_may_run():
    """A reminder of an hour ago reminds nobody."""
    late, in_time = reminder(ago=2 * HOUR), reminder(ago=MINUTE)

    with listening(signals.job_missed) as told:
        ticked(late)

    assert (late.state, events_of(late)) == (JobState.MISSED, 0)
    assert events_of(in_time) == 1
    assert [one["job"] for one in told] == [late]


def test_rows_that_the_project_s_own_manager_hides_are_emitted_all_the_same(monkeypatch):
    """A soft deletion is the project's word; a cancel is ours."""
    job = trial()
    monkeypatch.setattr(
        TrialExpiry._meta.default_manager.__class__,
        "get_queryset",
        lambda self: models.QuerySet(self.model, using=self._db).none(),
    )

    ticked()
    monkeypatch.undo()

    job.refresh_from_db()
    assert job.state == JobState.DONE


def test_a_model_whose_event_this_release_does_not_know_waits_for_one_that_does(monkeypatch):
    """Blocked, and back in a minute."""
    job = trial()
    monkeypatch.setattr(TrialExpiry, "emits", "shop.next_release")

    ticked(job)

    assert job.state == JobState.BLOCKED
    assert not OutboxEvent.objects.exists()


# Like any model of theirs


def test_rows_can_be_created_queried_and_edited_in_every_way():
    """Each of them keeps what the sweep reads true."""
    order = Order.objects.create()
    job = TrialExpiry.objects.create(order=order, at=BERLIN)
    assert (job.at, job.wall_clock) == (BERLIN.instant(), str(BERLIN))

    job.plan = "gold"
    job.save()
    assert job.wall_clock == str(BERLIN)

    job = TrialExpiry.objects.get(order=order)
    job.at = NEXT_YEAR
    job.save(update_fields=["at"])
    job.refresh_from_db()
    assert (job.at, job.wall_clock) == (NEXT_YEAR, "")

    TrialExpiry.objects.filter(plan="gold").update(at=BERLIN)
    job.refresh_from_db()
    assert (job.at, job.wall_clock) == (BERLIN.instant(), str(BERLIN))

    TrialExpiry.objects.update(at=F("at") + DAY)
    job.refresh_from_db()
    assert (job.at, job.wall_clock) == (BERLIN.instant() + DAY, "")

    job.at = BERLIN
    job.full_clean()
    TrialExpiry.objects.bulk_update([job], ["at"])
    [other] = TrialExpiry.objects.bulk_create([TrialExpiry(order=order, at=BERLIN)])
    other.refresh_from_db()
    job.refresh_from_db()
    assert (job.at, job.wall_clock) == (BERLIN.instant(), str(BERLIN))
    assert (other.at, other.wall_clock) == (BERLIN.instant(), str(BERLIN))


def test_a_row_read_without_its_time_is_saved_without_it(django_assert_num_queries):
    """deferred() and only() cost no query more."""
    job = trial(at=BERLIN)
    part = TrialExpiry.objects.only("plan").get(pk=job.pk)

    part.plan = "gold"
    with django_assert_num_queries(1):
        part.save()

    job.refresh_from_db()
    assert (job.plan, job.at, job.wall_clock) == ("gold", BERLIN.instant(), str(BERLIN))


def test_naive_times_are_refused_wherever_they_are_written():
    """Django would warn, and take its own zone."""
    order = Order.objects.create()
    naive = datetime(2099, 1, 1)

    for write in (
        lambda: TrialExpiry.objects.create(order=order, at=naive),
        lambda: TrialExpiry.objects.bulk_create([TrialExpiry(order=order, at=naive)]),
        lambda: TrialExpiry.objects.update(at=naive),
        lambda: TrialExpiry.objects.all().reschedule(naive),
    ):
        with pytest.raises(BadSchedule, match="in no time zone"):
            write()
    with pytest.raises(ValidationError, match="in no time zone"):
        TrialExpiry(order=order, at=naive).full_clean()

    assert not TrialExpiry.objects.exists()


def test_a_form_tells_of_a_time_that_no_job_may_have():
    """A person who mistypes a year is no server error."""

    class Form(forms.ModelForm):
        class Meta:
            model = TrialExpiry
            fields = ("order", "at", "plan")

    form = Form({"order": Order.objects.create().pk, "at": "1969-01-01 10:00", "plan": "pro"})

    assert not form.is_valid()
    assert "1970" in form.errors["at"][0]


# Whatever writes `at`, no wall moves it back


def test_a_copy_of_a_row_is_on_the_wall_only_where_its_time_is():
    """Django's idiom for copies brings the wall of the row that was read."""
    job = trial(at=BERLIN)

    for at, wall in ((BERLIN.instant(), str(BERLIN)), (BERLIN.instant() + HOUR, "")):
        job = TrialExpiry.objects.get(pk=job.pk)
        job.pk, job._state.adding, job.at = None, True, at
        job.save()
        job.refresh_from_db()
        assert (job.at, job.wall_clock) == (at, wall)


def test_rows_updated_in_bulk_leave_their_wall():
    """With or without its column named."""
    for fields in (["at"], ["at", "wall_clock"]):
        job = trial(at=BERLIN)
        job.at = NEXT_YEAR

        TrialExpiry.objects.bulk_update([job], fields)

        job.refresh_from_db()
        assert (job.at, job.wall_clock) == (NEXT_YEAR, "")


@pytest.mark.skipif(connection.vendor == "mysql", reason="it names no fields of a conflict")
def test_rows_that_are_inserted_or_updated_leave_their_wall():
    """An upsert that names `at` alone."""
    job = trial(at=BERLIN, key="a")

    TrialExpiry.objects.bulk_create(
        [TrialExpiry(order=job.order, at=NEXT_YEAR, key="a")],
        update_conflicts=True,
        update_fields=["at"],
        unique_fields=["key"],
    )

    job.refresh_from_db()
    assert (job.at, job.wall_clock) == (NEXT_YEAR, "")


@pytest.mark.parametrize("away", [2 * DAY, -2 * DAY])
def test_a_time_that_was_written_in_sql_counts_as_it_was_written(away):
    """No zone's rules move a wall by more than a day."""
    wall = WallClock((read_clock("default") + away).replace(tzinfo=None), "UTC")
    job = trial(at=wall)
    at = read_clock("default") - SECOND

    table = TrialExpiry._meta.db_table
    with connection.cursor() as cursor:
        value = connection.ops.adapt_datetimefield_value(at)
        cursor.execute(f"UPDATE {table} SET at = %s WHERE id = %s", [value, job.pk])
    ticked(job)

    assert (job.state, job.at) == (JobState.DONE, at)


def test_a_wall_is_kept_by_rows_that_are_read_again_or_in_part():
    """What was read in another way is no new time."""
    job = trial(at=NEXT_YEAR)
    TrialExpiry.objects.reschedule(BERLIN)

    job.refresh_from_db()
    job.plan = "gold"
    job.save()
    part = TrialExpiry.objects.defer("at").get(pk=job.pk)
    assert part.at == BERLIN.instant()
    part.plan = "free"
    part.save()

    job = TrialExpiry.objects.get()
    assert (job.plan, job.wall_clock) == ("free", str(BERLIN))


# A row that was read a while ago


def read_and_made(**columns) -> list[TrialExpiry]:
    """One as it was created, one as it was read: both go stale."""
    made = trial(**columns)
    return [made, TrialExpiry.objects.get(pk=made.pk)]


@COMMITS
def test_saving_a_stale_row_takes_no_cancel_back():
    """Nor gives a cancelled row the key that another may have by now."""
    for stale in read_and_made(ago=-HOUR, key="a"):
        TrialExpiry.objects.filter(pk=stale.pk).cancel()

        stale.plan = "gold"
        stale.save()

        job = TrialExpiry.objects.get(pk=stale.pk)
        assert (job.state, job.key, job.plan) == (JobState.CANCELLED, None, "gold")
        assert job.ended_at is not None


def test_saving_a_stale_row_does_not_move_it_back():
    """A reschedule of meanwhile stands."""
    [_, stale] = read_and_made(ago=-HOUR)
    TrialExpiry.objects.reschedule(BERLIN)

    stale.plan = "gold"
    stale.save()

    job = TrialExpiry.objects.get()
    assert (job.at, job.wall_clock, job.plan) == (BERLIN.instant(), str(BERLIN), "gold")


@COMMITS
@pytest.mark.parametrize("commits", [True, False])
def test_what_was_rolled_back_is_saved_again(commits):
    """A block that is tried again works on the same instances."""
    job, new = trial(ago=-HOUR), TrialExpiry(order=Order.objects.create(), at=BERLIN)
    job = TrialExpiry.objects.get(pk=job.pk)

    for last in (False, True):
        with transaction.atomic():
            job.at, job.key, job.state = BERLIN, "a", JobState.BLOCKED
            job.save()
            new.save()
            transaction.set_rollback(not last and not commits)

    job, new = TrialExpiry.objects.order_by("pk")
    assert (job.at, job.wall_clock) == (new.at, new.wall_clock) == (BERLIN.instant(), str(BERLIN))
    assert (job.key, job.state) == ("a", JobState.BLOCKED)


def test_what_is_saved_and_set_back_in_one_transaction_is_as_it_was():
    """What a row had when it was read is no less a change."""
    job = TrialExpiry.objects.get(pk=trial(at=NEXT_YEAR, key="a").pk)

    for at, key, state in (
        (BERLIN, "b", JobState.BLOCKED),
        (NEXT_YEAR, "a", JobState.WAITING),
    ):
        job.at, job.key, job.state = at, key, state
        job.save()

    job = TrialExpiry.objects.get()
    assert (job.at, job.wall_clock) == (NEXT_YEAR, "")
    assert (job.key, job.state) == ("a", JobState.WAITING)


def test_a_state_or_a_key_is_changed_on_purpose_only_where_it_was_seen():
    """Else a done row would wait again, or an ended one hold a key."""
    [_, stale] = read_and_made(key="a")
    ticked()

    for change in ({"key": "b"}, {"state": JobState.BLOCKED}):
        for name, value in change.items():
            setattr(stale, name, value)
        with pytest.raises(BadSchedule, match="is done by now"):
            stale.save()
        with pytest.raises(BadSchedule, match="is done by now"):
            stale.save(update_fields=list(change))

    job = TrialExpiry.objects.get()
    assert (job.state, job.key) == (JobState.DONE, None)
    job.state, job.ended_at, job.key, job.at = JobState.WAITING, None, "b", NEXT_YEAR
    job.save()
    job.refresh_from_db()
    assert (job.state, job.ended_at, job.key) == (JobState.WAITING, None, "b")


def test_a_row_without_a_time_is_refused_by_django():
    """In the words that its users know."""
    order = Order.objects.create()

    with pytest.raises(ValidationError, match="at"):
        TrialExpiry(order=order).full_clean()
    with pytest.raises(IntegrityError), transaction.atomic():
        TrialExpiry.objects.create(order=order)


def test_a_key_stands_once_among_rows_that_have_not_ended():
    """The database says so, whoever writes."""
    trial(key="a", ago=-HOUR)
    trial(ago=-HOUR)
    trial(ago=-HOUR)  # no key is no key: there may be many

    with pytest.raises(IntegrityError), transaction.atomic():
        trial(key="a", ago=-HOUR)


def test_cancel_and_reschedule_touch_what_has_not_ended():
    """And say how many."""
    waiting, done = trial(key="a", ago=-HOUR), trial(key="b")
    ticked(done)

    moved = TrialExpiry.objects.all().reschedule(NEXT_YEAR)
    cancelled = TrialExpiry.objects.by_key("a").cancel()
    again = TrialExpiry.objects.all().cancel()

    waiting.refresh_from_db()
    done.refresh_from_db()
    assert (moved, cancelled, again) == (1, 1, 0)
    assert (waiting.state, waiting.at, waiting.key) == (JobState.CANCELLED, NEXT_YEAR, None)
    assert done.state == JobState.DONE


@COMMITS
def test_of_a_cancel_and_a_tick_at_once_exactly_one_wins():
    """Neither is given up as a deadlock."""
    for number in range(5):
        job = trial(key=f"race:{number}")
        rows = TrialExpiry.objects.by_key(job.key)

        turns = [rows.cancel, lambda: tick("default")]
        told = [r for r in at_once(2, lambda turns=turns: turns.pop()()) if isinstance(r, int)]
        ticked(job)

        assert told == [1 - events_of(job)]


# Deleted when it is done


@COMMITS
def test_a_done_row_is_deleted_once_its_deliveries_have_ended_well(make_effect):
    """Until then it is what the effect is about."""
    make_effect(lambda row, _: LedgerEntry.objects.create(order_pk=row.pk), on=reminded)
    job = reminder()
    ticked(job)

    forgotten()
    assert Reminder.objects.filter(pk=job.pk).exists()
    deliver("default", list(Delivery.objects.values_list("pk", flat=True)))
    forgotten()

    assert LedgerEntry.objects.get().order_pk == job.pk
    assert not Reminder.objects.exists()


@pytest.mark.parametrize("state", [State.POISONED, State.UNCERTAIN])
def test_a_row_whose_delivery_is_set_aside_is_kept(make_effect, state):
    """To be redriven with."""
    make_effect(on=reminded)
    kept, free = reminder(), reminder()
    ticked(kept)
    about = Delivery.objects.filter(event__subject_pk=str(kept.pk))
    Delivery.objects.update(state=State.SUCCEEDED, look_at=None, finished_at=DbNow())
    about.update(state=state, finished_at=None)

    forgotten()

    assert list(Reminder.objects.all()) == [kept]
    assert not Reminder.objects.filter(pk=free.pk).exists()


def test_a_row_is_kept_for_what_was_emitted_under_an_earlier_name_of_its_model(
    make_effect, monkeypatch
):
    """Its delivery waits, and would find no subject."""
    make_effect(on=reminded)
    job = reminder()
    ticked()
    OutboxEvent.objects.update(subject_model="trials.nudge")
    monkeypatch.setattr(reminded, "subject_aliases", ("trials.nudge",))

    forgotten()

    assert Reminder.objects.get() == job


def test_a_row_that_the_project_does_not_let_go_keeps_no_other(caplog):
    """It is told of, and the others are deleted."""
    kept, _ = reminder(), reminder()

    def protect(instance, **_):
        if instance.pk == kept.pk:
            raise models.ProtectedError("an invoice is about it", {instance})

    with listening_to_deletions(protect):
        ticked()
        forgotten()

    assert Reminder.objects.get() == kept
    assert f"could not delete 1 ended jobs of trials.Reminder, as {kept.pk}" in caplog.text


@contextmanager
def listening_to_deletions(receiver):
    pre_delete.connect(receiver, sender=Reminder)
    try:
        yield
    finally:
        pre_delete.disconnect(receiver, sender=Reminder)


def test_a_row_to_which_nobody_listens_is_deleted_at_once():
    """No effect is owed because of it."""
    job = reminder()

    ticked()
    forgotten()

    assert events_of(job) == 1
    assert not Reminder.objects.exists()


def test_waiting_missed_and_marked_rows_are_never_deleted():
    """By their class, or because a person may want to see them."""
    waiting, missed, marked = reminder(ago=-HOUR), reminder(ago=2 * HOUR), trial()
    ticked(missed, marked)

    forgotten()

    assert set(Reminder.objects.all()) == {waiting, missed}
    assert TrialExpiry.objects.get() == marked


# Which models


def test_proxies_and_children_are_their_parents_rows():
    """Else one row would be two jobs."""

    class ProxyTrial(TrialExpiry):
        class Meta:
            proxy = True
            app_label = "trials"

    class ChildTrial(TrialExpiry):
        class Meta:
            app_label = "trials"

    try:
        assert set(typed_models()) == {TrialExpiry, Reminder}
    finally:
        for name in ("proxytrial", "childtrial"):
            del apps.all_models["trials"][name]
        apps.clear_cache()


def test_the_index_comes_with_the_base():
    """Each tick asks for state and time."""
    for model in (TrialExpiry, Reminder):
        assert [index.fields for index in model._meta.indexes] == [["state", "at"]]
    assert AbstractScheduledJob._meta.abstract
