"""The rows that are jobs: what each of them has, and the table that serves every event."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Self, TypeVar

from django.db import models
from django.db.models import F, Q

from ..clock import DbNow
from ..effects.keys import new_event_id
from ..outbox.models import AnyJSON
from .states import FORGETTABLE, OPEN, JobReason, JobState

LATE = timedelta(minutes=5)  # many ticks: what is later than this did not just come due

J = TypeVar("J", bound="Job")


class JobQuerySet(models.QuerySet[J]):
    """The nouns: which jobs."""

    def waiting(self) -> Self:
        return self.filter(state=JobState.WAITING)

    def standing(self) -> Self:
        """What has not ended: it waits, or is blocked."""
        return self.filter(state__in=OPEN)

    def blocked(self) -> Self:
        return self.filter(state=JobState.BLOCKED)

    def missed(self) -> Self:
        return self.filter(state=JobState.MISSED)

    def due(self) -> Self:
        """What the next tick emits, or as much of it as one tick may; the longest due in front."""
        # In order: for "some of them" PostgreSQL may read the table, where many should come by.
        return self.filter(state=JobState.WAITING, at__lte=DbNow()).order_by("at")

    def upcoming(self, within: timedelta | None = None) -> Self:
        """What waits for its time, the next in front; with `within` as far as that from now."""
        rows = self.filter(state=JobState.WAITING, at__gt=DbNow())
        if within is not None:
            rows = rows.filter(at__lte=DbNow() + within)
        return rows.order_by("at")

    def late(self, by: timedelta = LATE) -> Self:
        """What was due longer than *by* ago and has not ended: it waits, or is blocked."""
        return self.filter(state__in=OPEN, at__lte=DbNow() - by).order_by("at")

    def by_key(self, key: str) -> Self:
        return self.filter(key=key)


def standing_of(rows: models.QuerySet[J]) -> models.QuerySet[J]:
    """
    Those of *rows*, which are named by id, that have not ended.

    The state with nothing added would be one for an index: where the server takes that for nearly
    empty, as after a quiet night, it walks through all that waits to find the few.
    """
    found: Any = rows.alias(now=F("state") + 0)  # to the stubs it is another model's by now
    return found.filter(now__in=OPEN)  # type: ignore[no-any-return]  # see above


class Job(models.Model):
    """What every job has: when, and what became of it."""

    at = models.DateTimeField(help_text="when its time comes")
    # `at` is made anew from it when the zone's rules change before the day.
    wall_clock = models.CharField(
        max_length=100, blank=True, default="", editable=False, help_text="what says `at`, if any"
    )
    state = models.PositiveSmallIntegerField(
        choices=JobState.choices, default=JobState.WAITING, editable=False
    )
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        abstract = True


class ScheduledJobQuerySet(JobQuerySet["ScheduledJob"]):
    """Jobs of every event, found by what they are about as well."""

    def for_subject(self, subject: models.Model) -> Self:
        return self.filter(subject_model=subject._meta.label_lower, subject_pk=str(subject.pk))


class ScheduledJob(Job):
    """
    One event to be emitted at a time: `Event.schedule` writes it, the sweep `tick` carries it out.

    A key is unique among the jobs of one event that have not ended. `key_held` says so to the
    database: derived from both, and emptied at the end, for MariaDB has no partial indexes.
    """

    # Unique for all time, also over a restore: the event's id is derived from it.
    id = models.UUIDField(primary_key=True, default=new_event_id, editable=False)
    event = models.CharField(max_length=200)
    subject_model = models.CharField(max_length=200, blank=True)
    subject_pk = models.CharField(max_length=200, blank=True)
    payload = AnyJSON(default=dict)
    version = models.PositiveSmallIntegerField(default=1, help_text="of the payload")
    key = models.CharField(max_length=200)
    key_held = models.UUIDField(null=True, unique=True, editable=False)
    late = models.DurationField(null=True, blank=True, help_text="how late it may still run")
    reason = models.CharField(max_length=20, choices=JobReason.choices, blank=True, default="")
    created_at = models.DateTimeField(db_default=DbNow(), editable=False)

    objects = ScheduledJobQuerySet.as_manager()

    class Meta:
        app_label = "reliable_effects"
        indexes = [
            # What is due stands at one end of it, however many lie in the far future.
            models.Index(fields=["state", "at"], name="re_job_due"),
            models.Index(fields=["subject_model", "subject_pk"], name="re_job_subject"),
            models.Index(fields=["key"], name="re_job_key"),
            models.Index(
                fields=["ended_at"], condition=Q(state__in=FORGETTABLE), name="re_job_ended"
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="re_job_holds_its_key_until_it_ends",
                condition=(
                    Q(state__in=OPEN, key_held__isnull=False, ended_at__isnull=True)
                    | (~Q(state__in=OPEN) & Q(key_held__isnull=True, ended_at__isnull=False))
                ),
            ),
        ]
        default_permissions = ("view",)
        permissions = [
            ("run_scheduledjob", "Can run scheduled jobs now"),
            ("reschedule_scheduledjob", "Can reschedule scheduled jobs"),
            ("cancel_scheduledjob", "Can cancel scheduled jobs"),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.key}"
