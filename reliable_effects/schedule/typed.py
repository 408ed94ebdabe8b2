"""A base for jobs with columns of their own: models of a project, each row the subject of its event."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, Self, TypeVar

from django.db import models
from django.db.models import Q

from ..clock import DbNow
from ..effects.keys import new_event_id
from ..effects.wall_clock import WallClock
from .models import Job, JobQuerySet
from .states import JobState
from .times import Moment, moment

J = TypeVar("J", bound="AbstractScheduledJob")


class TypedJobQuerySet(JobQuerySet[J]):
    """Rows of a project's own model of jobs. What changes `at` here keeps `wall_clock` true."""

    def for_subject(self, subject: models.Model) -> Self:
        """The jobs that point at *subject* with one of their foreign keys."""
        model = subject._meta.concrete_model
        pointing = [
            field.name
            for field in self.model._meta.concrete_fields
            if field.is_relation
            and isinstance(field.related_model, type)
            and field.related_model._meta.concrete_model is model
        ]
        if not pointing:
            raise TypeError(
                f"{self.model.__name__} has no foreign key to {subject._meta.label}:"
                " for_subject() finds jobs by those."
            )
        about = Q()
        for name in pointing:
            about |= Q(**{name: subject})
        return self.filter(about)

    def cancel(self) -> int:
        """Give up those of these rows that have not ended; how many. The keys are free again."""
        return self.standing().update(state=JobState.CANCELLED, ended_at=DbNow(), key=None)

    def reschedule(self, at: datetime | WallClock) -> int:
        """Move those of these rows that have not ended to another time; how many."""
        return self.standing().update(at=at, state=JobState.WAITING)

    def update(self, **columns: Any) -> int:
        if "at" in columns:
            at = columns["at"]
            if isinstance(at, datetime | WallClock):
                when = moment(self.model.__name__, at)
                columns = {"wall_clock": when.wall_clock, **columns, "at": when.at}
            else:  # an expression, of which no wall knows
                columns = {"wall_clock": "", **columns}
        return super().update(**columns)

    def bulk_create(self, objs: Iterable[J], *args: Any, **options: Any) -> list[J]:
        objs = list(objs)
        for job in objs:
            job.settle_time()
        return super().bulk_create(objs, *args, **options)


class AbstractScheduledJob(Job):
    """
    A job with columns of its own: a model of the project, whose row is the subject of its event.

        class TrialExpiry(AbstractScheduledJob):
            emits = "shop.trial_ended"  # Event("shop.trial_ended", subject="shop.TrialExpiry")
            user = models.ForeignKey(User, models.CASCADE)
            plan = models.CharField(max_length=20)

    Rows are created, edited, queried and deleted as those of any model. `at` takes an aware
    datetime or a `WallClock`. A `key` is unique among the rows that have not ended; it is emptied
    when one ends. Each row becomes one event in its life; to schedule again, create another.

    `when_done` says what becomes of a row afterwards: "mark" keeps it with its state and end;
    "delete" deletes it once every delivery about it has ended well, for until then it is what
    effects are about, and what a poisoned one is to be redriven with.

    A Meta of your own inherits: `class Meta(AbstractScheduledJob.Meta)`. Without that the index is
    missing, and a check says so.
    """

    emits: ClassVar[str]
    """The name of the event, which declares this model as its subject."""
    when_done: ClassVar[Literal["mark", "delete"]] = "mark"
    late: ClassVar[timedelta | None] = None
    """How late a row may still run; later than that it is MISSED. None is however late."""

    _at_as_read: datetime | None = None

    key = models.CharField(max_length=200, null=True, blank=True, unique=True)  # NULL is free
    # What the event's id is derived from: primary keys may come back.
    job_id = models.UUIDField(default=new_event_id, editable=False)

    objects = TypedJobQuerySet.as_manager()

    class Meta:
        abstract = True
        indexes = [models.Index(fields=["state", "at"])]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.key or self.pk}"

    def save(self, *args: Any, **options: Any) -> None:
        self.settle_time()
        fields = options.get("update_fields")
        if fields is not None and "at" in fields:
            options["update_fields"] = {*fields, "wall_clock"}
        super().save(*args, **options)
        self._at_as_read = self.__dict__.get("at")

    @classmethod
    def from_db(cls, *args: Any, **options: Any) -> Self:  # Django 6.1 has an option more
        job = super().from_db(*args, **options)
        job._at_as_read = job.__dict__.get("at")  # noqa: SLF001  # one of ours
        return job

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        self.settle_time()
        super().clean_fields(exclude)

    def event_payload(self) -> Any:
        """The payload of the event, where the row by itself is not enough."""
        return None

    def settle_time(self) -> None:
        """Take `at` apart, where it was set since the row was read: a new instant has no wall."""
        at: Any = self.__dict__.get("at")
        if (
            at is None or at == self._at_as_read
        ):  # left out, or deferred: Django's own errors say so
            return
        if self._state.adding and self.wall_clock and not isinstance(at, WallClock):
            # A copy, or a row of a fixture: it brings both.
            when = Moment(moment(type(self).__name__, at).at, self.wall_clock)
        else:
            when = moment(type(self).__name__, at)
        self.at, self.wall_clock = when.at, when.wall_clock
        self._at_as_read = when.at
