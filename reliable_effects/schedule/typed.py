"""A base for jobs with columns of their own: models of a project, each row the subject of its event."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar, Literal, Self, TypeVar

from django.core.exceptions import ValidationError
from django.db import connections, models, router, transaction
from django.db.models import Q

from ..clock import DbNow
from ..effects.keys import new_event_id
from ..effects.wall_clock import WallClock
from ..exceptions import BadSchedule
from .models import Job, JobQuerySet, standing_of
from .states import JobState
from .times import Moment, moment, says

J = TypeVar("J", bound="AbstractScheduledJob")

_AT_ONCE = 1000  # rows in one statement
_OURS = ("at", "wall_clock", "state", "ended_at", "key")  # what sweeps and other callers change
_POSITIONAL = ("force_insert", "force_update", "using", "update_fields")  # of save(), once


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
        return self._change({"state": JobState.CANCELLED, "ended_at": DbNow(), "key": None})

    def reschedule(self, at: datetime | WallClock) -> int:
        """Move those of these rows that have not ended to another time; how many."""
        when = moment(self.model.__name__, at)
        return self._change(
            {"at": when.at, "wall_clock": when.wall_clock, "state": JobState.WAITING}
        )

    def _change(self, columns: dict[str, Any]) -> int:
        """By id, a thousand at a time and all or none; by key it would lie across a tick's path."""
        self._for_write = True
        pks = list(self.standing().values_list("pk", flat=True))
        rows = self.model._base_manager.using(self.db)  # Django's, and public
        with transaction.atomic(using=self.db):
            return sum(
                standing_of(rows.filter(pk__in=pks[start : start + _AT_ONCE])).update(**columns)
                for start in range(0, len(pks), _AT_ONCE)
            )

    def update(self, **columns: Any) -> int:
        if "at" in columns:
            at = columns["at"]
            if isinstance(at, datetime | WallClock):
                when = moment(self.model.__name__, at)
                columns = {"wall_clock": when.wall_clock, **columns, "at": when.at}
            else:  # an expression, of which no wall knows
                columns = {"wall_clock": "", **columns}
        return super().update(**columns)

    def bulk_create(  # noqa: PLR0917  # as Django has it
        self,
        objs: Iterable[J],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[J]:
        objs = list(objs)
        for job in objs:
            job.settle_time()
        made = super().bulk_create(
            objs,
            batch_size=batch_size,
            ignore_conflicts=ignore_conflicts,
            update_conflicts=update_conflicts,
            update_fields=with_wall(update_fields),
            unique_fields=unique_fields,
        )
        in_block = connections[self.db].in_atomic_block  # and may be rolled back
        if not (ignore_conflicts or update_conflicts or in_block):
            for job in made:
                job.note_as_read()
        return made

    def bulk_update(
        self, objs: Iterable[J], fields: Iterable[str], batch_size: int | None = None
    ) -> int:
        objs, names = list(objs), with_wall(list(fields))
        if "at" in names:
            for job in objs:
                job.settle_time()
        return super().bulk_update(objs, names, batch_size)


F = TypeVar("F", bound="Collection[str] | None")


def with_wall(fields: F) -> F | list[str]:
    """*fields* that are to be written; what changes `at` changes what says it."""
    if fields is None or "at" not in fields or "wall_clock" in fields:
        return fields
    return [*fields, "wall_clock"]


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

    _as_read: Mapping[str, Any] = {}  # what the database has, as far as we know, in `_OURS` and pk
    _saved: Mapping[str, Any] = {}  # what it will have, if that transaction is not rolled back

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
        """
        As Django does; but of the columns of the base those are written that were changed.

        A row that was read a while ago may have been cancelled, moved or carried out since, and
        its next save is not to take that back.

        Raises:
            BadSchedule: it changes the state or the key of a row that is in another state by now.
        """
        options = dict(zip(_POSITIONAL, args, strict=False)) | options
        self.settle_time()
        using = options.get("using")
        alias = using or router.db_for_write(type(self), instance=self)
        read = self._was_read(using) and not options.get("force_insert")
        fields = with_wall(options.get("update_fields"))
        if fields is None and read:
            fields = self._to_write()
        options |= {"using": alias, "update_fields": fields}
        if read and fields and ("state" in fields or ("key" in fields and self.key)):
            with transaction.atomic(using=alias):
                self._refuse_the_stale(alias)
                super().save(**options)
        else:
            super().save(**options)
        saved = self._ours(fields)
        if connections[alias].in_atomic_block:
            self._saved = {**self._saved, **saved}
            transaction.on_commit(partial(self._note, saved), using=alias, robust=True)
        else:
            self._note(saved)

    def _was_read(self, using: str | None) -> bool:
        """Else it is a copy, or sent to another database, and all of it is new there."""
        return (
            not self._state.adding
            # Where a router reads from a replica, its writer has the same row.
            and using in (None, self._state.db)
            and self._as_read.get("pk") == self.pk
        )

    def _to_write(self) -> list[str]:
        loaded = [
            field.attname
            for field in self._meta.concrete_fields
            if not field.primary_key and not field.generated and field.attname in self.__dict__
        ]
        return [name for name in loaded if name not in _OURS or self._was_changed(name)]

    def _was_changed(self, name: str) -> bool:
        if name in self._saved or name not in self._as_read:
            return True
        return bool(self._as_read[name] != self.__dict__[name])

    def _refuse_the_stale(self, alias: str) -> None:
        """Locked: what is seen here stays so until it is written over."""
        rows = type(self)._base_manager.using(alias)  # Django's, and public
        found = rows.filter(pk=self.pk).select_for_update().values_list("state", flat=True)
        before = self._as_read.get("state")
        for state in found:
            if before is not None and state not in (before, self._saved.get("state"), self.state):
                raise BadSchedule(
                    type(self).__name__,
                    "state",
                    f"was {JobState(before).label} when this row was read, and is"
                    f" {JobState(state).label} by now. Read it again, then change it.",
                )

    @classmethod
    def from_db(cls, *args: Any, **options: Any) -> Self:  # Django 6.1 has an option more
        job = super().from_db(*args, **options)
        job.note_as_read()
        return job

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: models.QuerySet[Any] | None = None,
    ) -> None:
        names = None if fields is None else list(fields)
        super().refresh_from_db(using, names, from_queryset)
        self.note_as_read(names)

    def note_as_read(self, fields: Collection[str] | None = None) -> None:
        """The database has *fields* as they are here now; None is all of them."""
        self._note(self._ours(fields))

    def _ours(self, fields: Collection[str] | None) -> dict[str, Any]:
        names = _OURS if fields is None else [name for name in _OURS if name in fields]
        values = {name: self.__dict__[name] for name in names if name in self.__dict__}
        return {**values, "pk": self.pk}

    def _note(self, values: Mapping[str, Any]) -> None:
        self._as_read = {**self._as_read, **values}
        self._saved = {name: self._saved[name] for name in self._saved if name not in values}

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        if not exclude or "at" not in exclude:
            try:
                self.settle_time()
            except BadSchedule as error:
                raise ValidationError({"at": str(error)}) from error
        super().clean_fields(exclude)

    def event_payload(self) -> Any:
        """The payload of the event, where the row by itself is not enough."""
        return None

    def settle_time(self) -> None:
        """Take `at` apart, where it was set since the row was read: another instant has no wall."""
        at: Any = self.__dict__.get("at")
        if at is None:  # left out, or deferred: Django's own errors say so
            return
        if all(self.__dict__.get(name) == self._as_read.get(name) for name in ("at", "wall_clock")):
            return
        when = moment(type(self).__name__, at)
        wall_clock = when.wall_clock or self.__dict__.get("wall_clock", "")
        if says(wall_clock, when.at):  # as where a row of a fixture brings both
            when = Moment(when.at, wall_clock)
        self.at, self.wall_clock = when.at, when.wall_clock
