"""`run_effects()` carries out jobs too: a month later is a test, not a month."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from reliable_effects import signals
from reliable_effects.models import ScheduledJob
from reliable_effects.schedule.states import JobState
from reliable_effects.testing import JobBlocked, run_effects
from tests.outbox.conftest import listening
from tests.shop.events import order_seen, trial_expired
from tests.shop.models import LedgerEntry, Order, TrialExpiry

from .conftest import DAY, HOUR

in_both_worlds = pytest.mark.parametrize(
    "world",
    [
        pytest.param("TestCase", marks=pytest.mark.django_db),
        pytest.param("TransactionTestCase", marks=pytest.mark.django_db(transaction=True)),
    ],
    indirect=True,
)


@pytest.fixture
def world(request):
    return request.param


def schedule(order: Order, in_: timedelta, **options) -> None:
    with transaction.atomic():
        order_seen.schedule(order, at=timezone.now() + in_, key=f"{order.pk}:{in_}", **options)


@in_both_worlds
@pytest.mark.usefixtures("world")
def test_a_month_later_is_now(make_effect):
    """Jobs in their order, what they owe, and what that schedules in turn."""
    order = Order.objects.create()
    runs = []

    def remind(order, _ctx):
        runs.append(order.pk)
        if len(runs) == 1:
            schedule(order, 60 * DAY)  # from today, for timezone.now() stays as it is

    make_effect(remind, on=order_seen)
    make_effect(lambda row, _: runs.append(row.plan), on=trial_expired)
    schedule(order, 31 * DAY)
    TrialExpiry.objects.create(order=order, plan="gold", at=timezone.now() + 40 * DAY)

    assert run_effects(until=30 * DAY) == []
    run_effects(until=62 * DAY)

    assert runs == [order.pk, "gold", order.pk]
    assert set(ScheduledJob.objects.values_list("state", flat=True)) == {JobState.DONE}


@in_both_worlds
@pytest.mark.usefixtures("world")
def test_what_is_due_now_needs_no_until(make_effect):
    """A job of the past."""
    make_effect(on=order_seen)
    schedule(Order.objects.create(), -HOUR)

    run_effects()

    assert LedgerEntry.objects.count() == 1


@in_both_worlds
@pytest.mark.usefixtures("world")
def test_signals_of_jobs_are_sent_as_on_a_worker():
    """After the commit that a TestCase never makes."""
    schedule(Order.objects.create(), -2 * HOUR, late=HOUR)

    with listening(signals.job_missed) as told:
        run_effects()

    assert len(told) == 1


@in_both_worlds
@pytest.mark.usefixtures("world")
def test_a_blocked_job_is_raised_unless_it_is_to_be_recorded():
    """What nobody would see in a test that passes."""
    order = Order.objects.create()
    schedule(order, -HOUR)
    order.delete()

    assert run_effects(record=True) == []
    with pytest.raises(JobBlocked, match="the subject's row is gone"):
        run_effects()


@pytest.mark.django_db
def test_more_than_one_tick_takes_is_emitted_all_the_same(settings):
    """A test has no ten seconds."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "TICK_LIMIT": 2}
    order = Order.objects.create()
    for number in range(5):
        schedule(order, -HOUR - number * DAY)

    run_effects()

    assert ScheduledJob.objects.filter(state=JobState.DONE).count() == 5
