"""The nouns: which jobs, the same on our table and on a project's own."""

from __future__ import annotations

import pytest

from reliable_effects.schedule.models import ScheduledJob
from tests.shop.models import LedgerEntry, Order, TrialExpiry

from .conftest import (
    DAY,
    HOUR,
    MINUTE,
    NEXT_YEAR,
    blocked_job,
    cancelled_job,
    done_job,
    due_job,
    missed_job,
    scheduled,
    ticked,
    trial,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("make", [due_job, trial], ids=["ours", "typed"])
def test_due_upcoming_and_late_are_about_now(make):
    """By the database's clock."""
    just_due, late, soon, far = make(), make(ago=HOUR), make(ago=-HOUR), make(ago=-3 * DAY)
    rows = type(late).objects

    assert set(rows.due()) == {just_due, late}
    assert list(rows.upcoming()) == [soon, far]
    assert list(rows.upcoming(within=DAY)) == [soon]
    assert list(rows.late()) == [late]
    assert set(rows.late(by=0 * MINUTE)) == {just_due, late}


def test_what_is_blocked_is_late_and_what_has_ended_is_nothing():
    """An alarm asks for late()."""
    blocked, missed = blocked_job(ago=HOUR), missed_job(ago=HOUR)
    done_job(ago=HOUR)
    cancelled_job(ago=HOUR)
    waiting = scheduled()
    rows = ScheduledJob.objects

    assert list(rows.late()) == [blocked]
    assert list(rows.due()) == []
    assert list(rows.upcoming()) == [waiting]
    assert list(rows.blocked()) == [blocked]
    assert list(rows.missed()) == [missed]
    assert set(rows.standing()) == {blocked, waiting}
    assert list(rows.waiting()) == [waiting]


def test_jobs_are_found_by_their_subject_and_their_key(order):
    """Standing ones, and what was."""
    mine = [due_job(order), scheduled(order, at=NEXT_YEAR)]
    other = scheduled()
    ticked(mine[0])

    assert set(ScheduledJob.objects.for_subject(order)) == set(mine)
    assert list(ScheduledJob.objects.by_key(other.key)) == [other]
    assert list(ScheduledJob.objects.for_subject(order).upcoming()) == [mine[1]]


def test_typed_jobs_are_found_by_what_they_point_at(order):
    """Whatever the foreign key is called."""
    mine, _other = trial(order=order, key="a"), trial()

    assert list(TrialExpiry.objects.for_subject(order)) == [mine]
    assert list(TrialExpiry.objects.by_key("a")) == [mine]
    with pytest.raises(TypeError, match=r"no foreign key to shop\.LedgerEntry"):
        TrialExpiry.objects.for_subject(LedgerEntry(order_pk=1))
    assert Order.objects.count() == 2
