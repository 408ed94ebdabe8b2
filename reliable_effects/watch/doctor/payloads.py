"""
Which rows this release could not carry out: a payload that it cannot read, or a name it lacks.

To be run before a deploy, with the new code on the old rows. Every row that may still run is read,
in chunks by primary key, so memory stays the same however many there are. Another table of what
waits is another function in `SOURCES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ...effects.payloads import Codec
from ...effects.registry import registry
from ...exceptions import BadPayload, UnknownEvent
from ...outbox.models import Delivery, OutboxEvent
from ...outbox.payloads import in_force
from ...outbox.states import State
from ...schedule.models import ScheduledJob
from ...schedule.tables import event_of

_CHUNK = 200  # rows at a time, each with a payload of up to 64 KiB
_SAMPLES = 5  # ids told of each group
_GROUPS = 500  # kinds of problems; more share the last

_MAY_RUN = (State.PENDING, State.RUNNING, State.UNCERTAIN, State.POISONED)


@dataclass(frozen=True, slots=True)
class Stored:
    """A payload in a row that may still run, and what is to read it (None: it has no such name)."""

    what: str  # "delivery", "scheduled job"
    id: Any
    name: str  # of the effect or event
    codec: Codec | None
    version: int
    payload: Any  # None: it is not there
    gone: str = "its event is not in the database"  # what is said of it then


Source = Callable[[str], Iterable[Stored]]


@dataclass(slots=True)
class Group:
    """Rows that have one problem in common."""

    what: str
    name: str
    problem: str
    count: int = 0
    ids: list[Any] = field(default_factory=list)


def scan(using: str, progress: Callable[[int], None]) -> list[Group]:
    """Every row of every source; *progress* is told how many were read, now and then."""
    groups: dict[tuple[str, str, str], Group] = {}
    read = 0
    for source in SOURCES:
        for stored in source(using):
            read += 1
            if read % 10_000 == 0:
                progress(read)
            problem = _problem_with(stored)
            if not problem:
                continue
            key = (stored.what, stored.name, problem)
            if key not in groups and len(groups) >= _GROUPS:
                key = (stored.what, "others", "as above, in other ways")
            group = groups.setdefault(key, Group(*key))
            group.count += 1
            if len(group.ids) < _SAMPLES:
                group.ids.append(stored.id)
    progress(read)
    return list(groups.values())


def of_event(name: str) -> Codec | None:
    """What reads the payloads of the event *name* in this release."""
    try:
        return registry.event(name).codec
    except UnknownEvent:
        return None


def _problem_with(stored: Stored) -> str:
    if stored.codec is None:
        return "no such name in this release"
    if stored.payload is None:
        return stored.gone
    try:
        stored.codec.load(stored.payload, stored.version)
    except BadPayload as error:
        # Without values and places in lists: no two rows would be alike, and they may be secret.
        place = re.sub(r"\d+", "*", error.path) or "as a whole"
        return f"version {stored.version}, {place}: {_without_value(error.problem)}"[:300]
    except Exception as error:  # noqa: BLE001  # the project's own types are in it
        return f"version {stored.version}: reading it raised {type(error).__name__}"
    return ""


def _without_value(problem: str) -> str:
    """“is 'x'; int was declared.”, “is 'x', not a Decimal: …”, “does not make a Money: …”, cut."""
    problem = re.sub(r"^is .*(; |, (?=not a ))", "", problem, flags=re.DOTALL)
    return re.sub(r"((?:not|make) a [^:]+): .*", r"\1", problem, flags=re.DOTALL).rstrip(".")


def _deliveries(using: str) -> Iterator[Stored]:
    for state in _MAY_RUN:
        rows = Delivery.objects.using(using).filter(state=state).order_by("pk")
        last = 0
        while True:
            columns = ("pk", "effect", "event_id", "notes")
            chunk = list(rows.filter(pk__gt=last).values_list(*columns)[:_CHUNK])
            if not chunk:
                break
            last = chunk[-1][0]
            events = OutboxEvent.objects.using(using).in_bulk({row[2] for row in chunk})
            for pk, name, event_id, notes in chunk:
                effect, event = registry.find_effect(name), events.get(event_id)
                # Few are edited, so each is read by itself.
                found = None if event is None else in_force(using, pk, notes, event)
                yield Stored(
                    "delivery",
                    pk,
                    name,
                    None if effect is None else effect.event.codec,
                    1 if found is None else found.version,
                    None if found is None else found.stored,
                    *(("its edited payload is not in the database",) if event else ()),
                )


def _scheduled_jobs(using: str) -> Iterator[Stored]:
    columns = ("pk", "event", "subject_model", "version", "payload")
    rows = ScheduledJob.objects.using(using).standing().order_by("pk").only(*columns)
    last = None
    while True:
        chunk = list((rows if last is None else rows.filter(pk__gt=last))[:_CHUNK])
        for job in chunk:
            event, name = event_of(job), job.event
            if event is None and of_event(name) is not None:
                name = f"{name} about {job.subject_model or 'nothing'}"  # a model was renamed
            codec = None if event is None else event.codec
            yield Stored("scheduled job", job.pk, name, codec, job.version, job.payload)
        if len(chunk) < _CHUNK:
            return
        last = chunk[-1].pk


SOURCES: list[Source] = [_deliveries, _scheduled_jobs]
