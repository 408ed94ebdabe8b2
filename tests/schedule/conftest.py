"""Jobs named for their state, and a hand that ticks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from reliable_effects.clock import DbNow, read_clock
from reliable_effects.effects.registry import registry
from reliable_effects.outbox.heartbeat import Swept
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.sweeps import sweep
from reliable_effects.schedule.jobs import held_by
from reliable_effects.schedule.models import ScheduledJob
from reliable_effects.schedule.states import OPEN, JobState
from reliable_effects.schedule.tick import TICK
from tests.forgetting import forget_rows
from tests.outbox.conftest import make_effect  # noqa: F401  # a fixture
from tests.shop.events import order_seen
from tests.shop.models import Order, Reminder, TrialExpiry

_numbers = itertools.count(1)

SECOND, MINUTE, HOUR, DAY = (
    timedelta(seconds=1),
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
)
NEXT_YEAR = datetime(2099, 3, 28, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _this_process_remembers_nothing() -> Iterator[None]:
    forget_rows()
    with registry.scratch():
        yield
    forget_rows()


@pytest.fixture
def order(db: None) -> Order:  # noqa: ARG001  # it is made in the database
    return Order.objects.create()


def scheduled(subject: Order | None = None, **options: Any) -> ScheduledJob:
    """A job of `order_seen` as the API leaves it: about a new order, in the far future."""
    options = {"at": NEXT_YEAR, "key": f"seen:{next(_numbers)}", **options}
    payload = options.pop("payload", None)
    with transaction.atomic():
        done = order_seen.schedule(subject or Order.objects.create(), payload, **options)
    return ScheduledJob.objects.get(pk=done.job_id)


def due_job(subject: Order | None = None, *, ago: timedelta = SECOND, **columns: Any) -> Any:
    """Its time came *ago*; *columns* are written over what the API left."""
    job = scheduled(subject)
    columns = {"at": DbNow() - ago, **columns}
    if (state := columns.get("state", JobState.WAITING)) not in OPEN:
        columns = {"ended_at": DbNow(), "key_held": None, **columns, "state": state}
    ScheduledJob.objects.filter(pk=job.pk).update(**columns)
    return ScheduledJob.objects.get(pk=job.pk)


def blocked_job(**columns: Any) -> Any:
    return due_job(state=JobState.BLOCKED, reason="SUBJECT_GONE", **columns)


def missed_job(**columns: Any) -> Any:
    return due_job(state=JobState.MISSED, **columns)


def done_job(**columns: Any) -> Any:
    return due_job(state=JobState.DONE, **columns)


def cancelled_job(**columns: Any) -> Any:
    return due_job(state=JobState.CANCELLED, **columns)


def trial(*, ago: timedelta = SECOND, **columns: Any) -> TrialExpiry:
    """A typed job whose time came *ago*."""
    columns = {"at": read_clock("default") - ago, **columns}
    if "order" not in columns:
        columns["order"] = Order.objects.create()
    return TrialExpiry.objects.create(**columns)


def reminder(*, ago: timedelta = SECOND, **columns: Any) -> Reminder:
    return Reminder.objects.create(**{"at": read_clock("default") - ago, **columns})


def ticked(*rows: Any, using: str = "default") -> Swept:
    """One tick, whoever's turn it is; *rows* are read again."""
    swept = sweep(using, TICK, now=True)
    assert swept is not None
    for row in rows:
        row.refresh_from_db()
    return swept


def events_of(job: Any) -> int:
    """How many events were emitted about the subject of *job*."""
    if isinstance(job, ScheduledJob):
        return OutboxEvent.objects.filter(
            subject_model=job.subject_model, subject_pk=job.subject_pk, source="schedule"
        ).count()
    return OutboxEvent.objects.filter(
        subject_model=job._meta.label_lower, subject_pk=str(job.pk), source="schedule"
    ).count()


def key_of(job: ScheduledJob) -> Any:
    return held_by(order_seen, job.key)


def deliveries() -> int:
    return Delivery.objects.count()
