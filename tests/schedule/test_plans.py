"""Of many jobs in the far future, and many that have ended, what is about now reads none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection, transaction

from reliable_effects.clock import DbNow
from reliable_effects.outbox.heartbeat import Swept
from reliable_effects.schedule.forget import forget_ended
from reliable_effects.schedule.models import ScheduledJob
from reliable_effects.schedule.states import JobState
from reliable_effects.schedule.tables import JobTable, TypedTable
from reliable_effects.schedule.tick import emit_due, retry_blocked
from reliable_effects.schedule.zones import resolve_anew
from tests.faults.plans.touched import Touched, touched
from tests.shop.events import order_seen
from tests.shop.models import Order
from tests.trials.models import TrialExpiry

from .conftest import DAY, NEXT_YEAR, SECOND
from .many import JOBS, TRIALS, analyse, empty, make_jobs, statistics_by_hand

pytestmark = [
    pytest.mark.django_db,  # each test is rolled back
    pytest.mark.skipif(connection.vendor == "sqlite", reason="for servers with statistics"),
]

FAR, ENDED, DUE = 20_000, 10_000, 100
SUBJECTS = range(1_000_001, 1_000_001 + DUE)

PRIMARY = f"{JOBS}_pkey" if connection.vendor == "postgresql" else "PRIMARY"
PRIMARIES = {PRIMARY, f"{TRIALS}_pkey"}
TYPED_DUE = next(index.name for index in TrialExpiry._meta.indexes)


@pytest.fixture(scope="module", params=["of today", "of a night when nothing waited"])
def crowd(request, django_db_setup, django_db_blocker) -> Iterator[None]:  # noqa: ARG001  # there first
    """Committed once: MariaDB's ANALYZE commits. The statistics are true, or they were once."""
    with django_db_blocker.unblock():
        try:
            _make(surprising=request.param != "of today")
            yield
        finally:
            empty("default")
            Order.objects.all().delete()


def _make(*, surprising: bool) -> None:
    statistics_by_hand("default", by_hand=True)
    Order.objects.bulk_create(Order(pk=pk) for pk in (1, *SUBJECTS))
    make_jobs("default", ENDED, JobState.DONE, first=FAR + 1, typed=ENDED)
    if surprising:
        analyse("default")
    make_jobs("default", FAR, typed=FAR)
    if not surprising:
        analyse("default")
    with transaction.atomic():
        order_seen.schedule_many([(Order(pk=pk), None, NEXT_YEAR, f"due:{pk}") for pk in SUBJECTS])
    ScheduledJob.objects.filter(key__startswith="due:").update(at=DbNow() - SECOND)
    TrialExpiry.objects.bulk_create([TrialExpiry(order_id=1, at=NEXT_YEAR) for _ in range(DUE)])
    TrialExpiry.objects.filter(at=NEXT_YEAR).update(at=DbNow() - SECOND)


def about_jobs(found: Touched) -> Touched:
    return Touched(s for s in found if JOBS in s.sql or TRIALS in s.sql)


def within(found: Touched, rows: int, indexes: set[str]) -> None:
    """*found* read at most so many rows of jobs in all, and through nothing but these indexes."""
    found = about_jobs(found)
    assert found
    for statement in found:
        assert statement.indexes <= indexes, (statement.sql, statement.plan)
    assert found.rows <= rows, [(s.rows, s.sql, s.plan) for s in found if s.rows > rows / 10]


@pytest.mark.usefixtures("crowd")
@pytest.mark.parametrize(
    ("table", "index"), [(JobTable(), "re_job_due"), (TypedTable(TrialExpiry), TYPED_DUE)]
)
def test_a_tick_reads_what_is_due(table, index):
    """Through the index, a hundred in their order: the rows, and each once more to be marked."""
    swept = Swept()

    with touched() as found:
        emit_due("default", table, swept)

    assert swept.done == DUE
    within(found, 5 * DUE, {index, *PRIMARIES})


@pytest.mark.usefixtures("crowd")
def test_a_tick_that_finds_nothing_reads_nothing():
    """Most of them."""
    emit_due("default", JobTable(), Swept())

    with touched() as found:
        emit_due("default", JobTable(), Swept())
        retry_blocked("default", JobTable(), Swept())

    within(found, 5, {"re_job_due", *PRIMARIES})


@pytest.mark.usefixtures("crowd")
def test_looking_for_changed_zones_reads_one_day():
    """Of a year."""
    with touched() as found:
        resolve_anew("default", JobTable())

    within(found, 3 * FAR // 365, {"re_job_due", *PRIMARIES})


@pytest.mark.usefixtures("crowd")
def test_forgetting_reads_what_may_go():
    """A batch of what has ended; what waits is not on the way."""
    ScheduledJob.objects.filter(state=JobState.DONE).update(ended_at=DbNow() - DAY)
    old = ScheduledJob.objects.filter(state=JobState.DONE).order_by("pk")[:50]
    ScheduledJob.objects.filter(pk__in=[row.pk for row in old]).update(ended_at=DbNow() - 30 * DAY)

    with touched() as found:
        forget_ended("default", JobTable())

    assert ScheduledJob.objects.filter(state=JobState.DONE).count() == ENDED - 50
    within(found, 5 * 50, {"re_job_ended", *PRIMARIES})


@pytest.mark.usefixtures("crowd")
def test_scheduling_moving_and_cancelling_read_their_own_job():
    """By its key."""
    order = Order.objects.get(pk=1)

    with touched() as found, transaction.atomic():
        order_seen.schedule(order, at=NEXT_YEAR, key="a")
        order_seen.reschedule(key="a", at=NEXT_YEAR + DAY)
        order_seen.cancel(key="a")

    within(found, 20, {f"{JOBS}_key_held_key", "key_held", "re_job_key", *PRIMARIES})


@pytest.mark.usefixtures("crowd")
def test_the_nouns_are_walks_of_an_index():
    """Alarms and pages ask them each minute."""
    order = Order.objects.get(pk=SUBJECTS[0])

    with touched() as found:
        rows = ScheduledJob.objects
        assert rows.due()[:DUE].count() == DUE
        assert rows.late().values_list("pk").first() is None
        assert len(rows.upcoming()[:10]) == 10
        assert rows.for_subject(order).get().key == f"due:{order.pk}"
        assert rows.by_key(f"due:{order.pk}").get().subject_pk == str(order.pk)

    within(found, 3 * DUE, {"re_job_due", "re_job_subject", "re_job_key"})


@pytest.mark.usefixtures("crowd")
def test_emit_does_not_touch_the_table_of_jobs():
    """However many there are."""
    order = Order.objects.get(pk=1)  # a new one could be given this number, by a fresh sequence

    with touched() as found, transaction.atomic():
        order_seen.emit(order)

    assert not about_jobs(found)
