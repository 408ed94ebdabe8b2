"""
The tables that hold jobs: ours, and one for each model of the project that is an
`AbstractScheduledJob`. What the sweep asks of a job, its table answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import router
from django.db.models import Model, QuerySet

from ..clock import DbNow
from ..effects.event import Event
from ..effects.keys import once_event_id
from ..effects.registry import registry
from ..exceptions import BadPayload, UnknownEvent
from .models import ScheduledJob, standing_of
from .states import JobReason, JobState
from .typed import AbstractScheduledJob


@dataclass(frozen=True, slots=True)
class Ready:
    """A job that can become an event now."""

    job: Any
    event: Event[Any, Any]
    subject: Any
    payload: Any
    once: str  # what the event's id is derived from: the same for ever


@dataclass(frozen=True, slots=True)
class Blocked:
    job: Any
    reason: JobReason


class JobTable:
    """`ScheduledJob`: the row names its event and its subject."""

    model: type[Any] = ScheduledJob

    @property
    def label(self) -> str:
        label: str = self.model._meta.label
        return label

    def rows(self, using: str) -> QuerySet[Any]:
        """All of them: a project's own manager may hide some, and their time comes all the same."""
        found: QuerySet[Any] = self.model._base_manager.using(using)
        return found

    def standing(self, using: str, jobs: Sequence[Any]) -> QuerySet[Any]:
        """Those of *jobs* that have not ended, for a guarded UPDATE."""
        return standing_of(self.rows(using).filter(pk__in=[job.pk for job in jobs]))

    def ended(self, state: JobState) -> dict[str, Any]:
        return {"state": state, "reason": "", "ended_at": DbNow(), "key_held": None}

    def waiting(self) -> dict[str, Any]:
        return {"state": JobState.WAITING, "reason": ""}

    def blocked(self, reason: JobReason) -> dict[str, Any]:
        return {"state": JobState.BLOCKED, "reason": reason}

    def late(self, job: Any) -> timedelta | None:
        late: timedelta | None = job.late
        return late

    def name(self, job: Any) -> str:
        return f"{job.event} key={job.key!r}"

    def knows(self, job: Any) -> bool:
        """Whether this release has the event of *job*, and so may judge it."""
        return event_of(job) is not None

    def prepare(self, using: str, jobs: Sequence[Any]) -> Iterator[Ready | Blocked]:
        """What emit needs for each of *jobs*, or why there is none of it."""
        declared = {job.pk: event_of(job) for job in jobs}
        subjects = _subjects(using, [(job, event) for job in jobs if (event := declared[job.pk])])
        for job in jobs:
            event = declared[job.pk]
            if event is None:
                yield Blocked(job, JobReason.UNKNOWN_EVENT)
                continue
            if event.model is not None and job.pk not in subjects:
                yield Blocked(job, JobReason.SUBJECT_GONE)
                continue
            try:
                payload = event.codec.load(job.payload, job.version)
            except BadPayload:
                yield Blocked(job, JobReason.UNREADABLE)
                continue
            yield Ready(job, event, subjects.get(job.pk), payload, _once(job.pk))


class TypedTable(JobTable):
    """A model of the project: each row is the subject of its event."""

    def __init__(self, model: type[AbstractScheduledJob]) -> None:
        self.model = model

    def ended(self, state: JobState) -> dict[str, Any]:
        return {"state": state, "ended_at": DbNow(), "key": None}

    def waiting(self) -> dict[str, Any]:
        return {"state": JobState.WAITING}

    def blocked(self, reason: JobReason) -> dict[str, Any]:  # noqa: ARG002  # the log says it
        return {"state": JobState.BLOCKED}

    def late(self, job: AbstractScheduledJob) -> timedelta | None:
        return type(job).late

    def name(self, job: Any) -> str:
        return f"{self.label} {job.pk}"

    def knows(self, job: Any) -> bool:  # noqa: ARG002  # the model says it for all its rows
        return self.event() is not None

    def prepare(self, using: str, jobs: Sequence[Any]) -> Iterator[Ready | Blocked]:  # noqa: ARG002
        event = self.event()
        for job in jobs:
            if event is None:
                yield Blocked(job, JobReason.UNKNOWN_EVENT)
            else:
                yield Ready(job, event, job, job.event_payload(), _once(job.job_id))

    def event(self) -> Event[Any, Any] | None:
        """The event that the model emits; None where no such event is about this model."""
        try:
            event = registry.event(getattr(self.model, "emits", ""))
        except UnknownEvent:
            return None
        return event if event.subject_label == self.model._meta.label_lower else None


def tables(using: str) -> list[JobTable]:
    """Every table of jobs that lies on *using*."""
    return [
        table
        for table in (JobTable(), *(TypedTable(model) for model in typed_models()))
        if router.allow_migrate_model(using, table.model)
    ]


def typed_models() -> list[type[AbstractScheduledJob]]:
    """The project's models of jobs. The rows of a child lie in its parent's table as well."""
    return [
        model
        for model in apps.get_models()
        if issubclass(model, AbstractScheduledJob)
        and not model._meta.proxy
        and not any(issubclass(parent, AbstractScheduledJob) for parent in model._meta.parents)
    ]


def event_id_of(job: ScheduledJob) -> UUID | None:
    """The id of the event that *job* became, or will; None where nobody here knows its event."""
    event = event_of(job)
    if event is None:
        return None
    about = f"{event.subject_identity}:{job.subject_pk}"
    return once_event_id(event.identity, about, _once(job.pk))


def _once(job_id: UUID) -> str:
    return f"job:{job_id}"


def event_of(job: ScheduledJob) -> Event[Any, Any] | None:
    """The event of *job*, where this release knows it, about the model that the row names."""
    try:
        event = registry.event(job.event)
        event.model  # noqa: B018  # raises where no app has it
    except (UnknownEvent, LookupError, ValueError):
        return None
    known = (event.subject_label, *event.subject_aliases)
    return event if job.subject_model in known else None


def _subjects(using: str, jobs: Sequence[tuple[Any, Event[Any, Any]]]) -> dict[Any, Any]:
    """The subjects that are there, by the pk of their job; one query a model."""
    by_model: dict[type[Model], dict[Any, Any]] = {}
    for job, event in jobs:
        if (model := event.model) is None:
            continue
        try:
            pk = model._meta.pk.to_python(job.subject_pk)
        except ValidationError:  # it was of another type once
            continue
        by_model.setdefault(model, {})[job.pk] = pk
    found: dict[Any, Any] = {}
    for model, pks in by_model.items():
        # As an effect would find it: managers of the project may hide rows.
        rows = model._base_manager.using(using).in_bulk(set(pks.values()))
        found |= {job_pk: rows[pk] for job_pk, pk in pks.items() if pk in rows}
    return found
