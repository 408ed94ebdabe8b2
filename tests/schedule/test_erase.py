"""Who asks to be forgotten is forgotten in scheduled jobs too; what must still run is told."""

from __future__ import annotations

import pytest

from reliable_effects.outbox.forget import MARK, Share, forget
from reliable_effects.schedule.models import ScheduledJob
from reliable_effects.schedule.states import JobState

from .conftest import done_job, missed_job, scheduled

pytestmark = pytest.mark.django_db


def forgotten(order, **options) -> Share:
    return forget(order, by="ann", why="a request", **options).others["scheduled jobs"]


def test_what_has_ended_is_blanked_and_its_row_stays(order):
    for make in (done_job, missed_job):
        job = make(subject=order)
        ScheduledJob.objects.filter(pk=job.pk).update(payload={"name": "Ann"})

    share = forgotten(order)

    assert share == Share(blanked=2, left=0)
    assert {row.state for row in ScheduledJob.objects.all()} == {JobState.DONE, JobState.MISSED}
    assert all((row.payload, row.version) == (MARK, 0) for row in ScheduledJob.objects.all())
    assert forgotten(order) == Share(blanked=0, left=0), "twice is once"


def test_what_still_waits_is_left_and_told(order):
    """The last letter may be the very one that tells of the erasure."""
    job = scheduled(order, payload={"name": "Ann"})

    assert forgotten(order) == Share(blanked=0, left=1)
    assert ScheduledJob.objects.get(pk=job.pk).payload == {"name": "Ann"}


def test_even_what_waits_is_given_up_where_that_is_asked_for(order):
    job = scheduled(order, payload={"name": "Ann"})

    share = forgotten(order, even_pending=True)

    job.refresh_from_db()
    assert share == Share(blanked=1, left=0)
    assert (job.state, job.payload, job.key_held) == (JobState.CANCELLED, MARK, None)


def test_a_dry_run_changes_nothing(order):
    job = scheduled(order, payload={"name": "Ann"})

    share = forgotten(order, even_pending=True, dry_run=True)

    job.refresh_from_db()
    assert share == Share(blanked=1, left=0)
    assert (job.state, job.payload) == (JobState.WAITING, {"name": "Ann"})


def test_the_jobs_of_others_are_left_alone(order):
    other = done_job()

    forgotten(order)

    other.refresh_from_db()
    assert other.payload != MARK
