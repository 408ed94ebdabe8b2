"""Jobs with columns of their own: rows of a project's model that are the subjects of their events."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.db.models import F

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
from tests.outbox.conftest import listening
from tests.shop.events import reminded, trial_expired
from tests.shop.models import LedgerEntry, Order, Reminder, TrialExpiry
from tests.sweeps.conftest import at_once

from .conftest import DAY, HOUR, MINUTE, NEXT_YEAR, events_of, reminder, ticked, trial

pytestmark = pytest.mark.django_db(transaction=True)

BERLIN = WallClock(datetime(2099, 3, 29, 2, 30), "Europe/Berlin")


def forgotten() -> None:
    forget_ended("default", TypedTable(Reminder))
    forget_ended("default", TypedTable(TrialExpiry))


# When its time has come


def test_the_row_itself_is_what_effects_get(make_effect):
    """With its columns, and no payload to keep in step."""
    got = []
    make_effect(lambda row, _: got.append((row.pk, row.plan, row.order)), on=trial_expired)
    job = trial(plan="gold")

    ticked(job)
    deliver("default", list(Delivery.objects.values_list("pk", flat=True)))

    assert got == [(job.pk, "gold", job.order)]
    assert OutboxEvent.objects.get().subject_model == "shop.trialexpiry"


def test_a_done_row_is_marked_and_its_key_is_free():
    """The next trial of the same order may have it."""
    job = trial(key="a")

    ticked(job)
    again = trial(key="a", order=job.order, ago=-HOUR)

    assert (job.state, job.key) == (JobState.DONE, None)
    assert read_clock("default") - job.ended_at < MINUTE
    assert (again.state, again.key) == (JobState.WAITING, "a")


def test_ticks_at_once_emit_each_row_once():
    """As with jobs of ours."""
    rows = [trial() for _ in range(10)]

    at_once(3, ticked_quietly)
    ticked(*rows)

    assert [events_of(row) for row in rows] == [1] * 10


def ticked_quietly() -> None:
    from reliable_effects.outbox.sweeps import sweep  # noqa: PLC0415
    from reliable_effects.schedule.tick import TICK  # noqa: PLC0415

    sweep("default", TICK, now=True)


def test_a_row_that_came_back_from_a_backup_is_no_second_event():
    """Its job_id is what the event's id is derived from."""
    job = trial()
    ticked(job)

    TrialExpiry.objects.update(state=JobState.WAITING, ended_at=None)
    ticked(job)

    assert (job.state, events_of(job)) == (JobState.DONE, 1)


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
    assert (job.at, job.wall_clock) == (BERLIN.instant(), "")
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
        lambda: TrialExpiry(order=order, at=naive).full_clean(),
    ):
        with pytest.raises(BadSchedule, match="in no time zone"):
            write()

    assert not TrialExpiry.objects.exists()


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


# Deleted when it is done


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
            app_label = "shop"

    class ChildTrial(TrialExpiry):
        class Meta:
            app_label = "shop"

    try:
        assert set(typed_models()) == {TrialExpiry, Reminder}
    finally:
        for name in ("proxytrial", "childtrial"):
            del apps.all_models["shop"][name]
        apps.clear_cache()


def test_the_index_comes_with_the_base():
    """Each tick asks for state and time."""
    for model in (TrialExpiry, Reminder):
        assert [index.fields for index in model._meta.indexes] == [["state", "at"]]
    assert AbstractScheduledJob._meta.abstract
