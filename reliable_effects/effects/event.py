"""Events: facts in the past tense about one subject."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Generic, TypeVar, get_origin, is_typeddict

from django.apps import apps
from django.db.models import Model

from ..exceptions import BadSubject
from .names import checked_names, declared_at
from .payloads import Codec, Json
from .registry import Emitted, registry
from .scheduling import Changed, OnConflict, Scheduled, When

S = TypeVar("S")
P = TypeVar("P")

_LONGEST_PK = 200  # characters of it in a row
_LAST_VERSION = 2**15 - 1  # of a smallint


class Event(Generic[S, P]):
    """
    A fact about one subject row: `Event("shop.order_placed", subject="shop.Order")`.

    `subject` is a model's label, or None for an event about no row. `payload` is a dataclass or
    TypedDict; where it is left out, the annotation `Event[Order, OrderPlaced]` of a variable in an
    `events` module says it, else payloads are plain dicts. `version` is the payload's; `upcast[n]`
    turns one of version n into n + 1. `aliases` are earlier names of the event, and
    `subject_aliases` earlier labels of the model, both oldest first: rows outlive renames.
    """

    def __init__(
        self,
        name: str,
        *,
        subject: str | None,
        payload: type[P] | None = None,
        version: int = 1,
        upcast: Mapping[int, Callable[[Json], Json]] | None = None,
        aliases: Sequence[str] = (),
        subject_aliases: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.aliases = checked_names("event", name, aliases)
        self.identity = self.aliases[0] if self.aliases else name
        self.place = declared_at(1)
        if not isinstance(version, int) or not 1 <= version <= _LAST_VERSION:
            raise ValueError(f"Event {name!r}: version={version!r}; versions count from 1.")
        stray = [step for step in upcast or () if not 1 <= step < version]
        if stray:
            raise ValueError(
                f"Event {name!r}: upcast[{stray[0]!r}] leads nowhere: upcast[n] turns version n into"
                f" n + 1, and the version is {version}."
            )
        self._about(subject, subject_aliases, Codec(name, None, version, dict(upcast or {})))
        if payload is not None:
            self.declare_payload(payload)
        registry.add_event(self)

    @classmethod
    def of_promise(
        cls, effect: str, identity: str, on: Event[S, P] | None, subject: str | None
    ) -> Event[S, P]:
        """The event behind a promise: nobody declared it, so nobody else can listen to it."""
        event: Event[S, P] = cls.__new__(cls)
        event.name, event.aliases, event.place = effect, (), ""
        event.identity = f"promise:{identity}"  # no name of a declared event has a colon
        if on is None:
            event._about(subject, (), Codec(effect, None, 1, {}))
        else:  # one codec for both: it may be told its type later
            event._about(on.subject, on.subject_aliases, on.codec)
        return event

    def _about(self, subject: str | None, subject_aliases: Sequence[str], codec: Codec) -> None:
        for label in (*subject_aliases, subject):
            if label is not None and (not isinstance(label, str) or label.count(".") != 1):
                raise ValueError(f"{self.name!r}: subject {label!r}; write it like 'shop.Order'.")
        self.subject = subject
        self.subject_aliases = tuple(alias.lower() for alias in subject_aliases)
        self.codec = codec

    def declare_payload(self, payload: type[P]) -> None:
        """Say (late) which type the payload has: a dataclass or a TypedDict; dict means any."""
        if payload is dict or get_origin(payload) is dict or payload in (Any, type(None)):
            return
        if not (is_typeddict(payload) or dataclasses.is_dataclass(payload)):
            raise TypeError(
                f"Event {self.name!r}: payload={payload!r}; give a dataclass or a TypedDict."
            )
        self.codec.type = payload

    @property
    def version(self) -> int:
        return self.codec.version

    @property
    def payload_type(self) -> type[Any] | None:
        return self.codec.type

    @property
    def model(self) -> type[Model] | None:
        """The subject's model class; LookupError names it where no app has it."""
        return apps.get_model(self.subject) if self.subject else None

    @property
    def known_model(self) -> type[Model] | None:
        """The same; None also where no app has it, which a system check tells."""
        try:
            return self.model
        except (LookupError, ValueError):
            return None

    @property
    def subject_label(self) -> str:
        """What rows say of the subject's model; "" for an event about no row."""
        return self.subject.lower() if self.subject else ""

    @property
    def subject_identity(self) -> str:
        """What keys are derived from: the oldest label this model has had."""
        return self.subject_aliases[0] if self.subject_aliases else self.subject_label

    def check_subject(self, subject: Any) -> None:
        """Raises BadSubject where `pk_text` does."""
        self.pk_text(subject)

    def pk_text(self, subject: Any) -> str:
        """
        The primary key of *subject* as rows and keys spell it, however it was assigned.

        Raises:
            BadSubject: *subject* is not a saved instance of the declared model.
        """
        model = self.model
        if model is None:
            if subject is not None:
                raise BadSubject(self.name, f"is {subject!r}; subject=None was declared.")
            return ""
        if not isinstance(subject, model._meta.concrete_model or model):
            raise BadSubject(
                self.name, f"is a {type(subject).__name__}; {self.subject} was declared."
            )
        if subject.pk is None:
            raise BadSubject(
                self.name,
                f"{subject!r} has no primary key. Save it first, or emit before delete().",
            )
        if isinstance(subject.pk, tuple):
            raise BadSubject(
                self.name, f"{self.subject} has a composite key, which no row can name."
            )
        text = self.speller()(subject.pk)
        if len(text) > _LONGEST_PK:
            raise BadSubject(self.name, f"its key has {len(text)} characters, not {_LONGEST_PK}.")
        return text

    def speller(self) -> Callable[[Any], str]:
        """A primary key of the subject's model as rows and keys spell it; "" where there is none."""
        model = self.model
        if model is None:
            return lambda _: ""
        # "7" is 7, and a UUID without dashes is the same UUID: keys are derived from this.
        to_python = model._meta.pk.to_python
        return lambda pk: str(to_python(pk))

    def emit(
        self,
        subject: S,
        /,
        payload: P | None = None,
        *,
        once: str | None = None,
        using: str | None = None,
    ) -> Emitted:
        """
        Write that this has happened, and what is owed because of it, in the open transaction.

        One statement on PostgreSQL. `once` names the emission: the same name about the same
        subject is the same event, written once. `using` is a database alias; else the router's
        `db_for_write` for the subject decides.

        Raises:
            OutsideTransaction: there is no open `atomic()` block on that database.
            BadSubject, BadPayload: nothing was written.
            EmittedTwice: an effect's run emitted this before and gave no `once`.
        """
        return self.emit_many([(subject, payload)], once=once, using=using)[0]

    def emit_many(
        self,
        facts: Iterable[tuple[S, P | None]],
        *,
        once: str | None = None,
        using: str | None = None,
    ) -> list[Emitted]:
        """`emit` for many (subject, payload) pairs at once: one statement for all of them."""
        return registry.writer.emit(
            self, registry.on(self), list(facts), once=once, source="emit", using=using
        )

    def schedule(
        self,
        subject: S,
        /,
        payload: P | None = None,
        *,
        at: When,
        key: str,
        late: timedelta | None = None,
        on_conflict: OnConflict = "keep",
        using: str | None = None,
    ) -> Scheduled:
        """
        Emit this when the time has come: one row now, in the open transaction, and no message.

        `at` is an aware datetime or a `WallClock`; what has passed is due at once. `key` names the
        job: among those of this event that have not ended there is one of it. Where one stands,
        `on_conflict` keeps it ("keep", the result says `already_scheduled`), cancels it for the new
        one ("replace"), or raises ("raise"). `late` is how late it may still run, for instance
        after an outage; later than that it becomes MISSED. None is however late.

        In an effect, a repeated run schedules nothing that its first run scheduled.

        Raises:
            OutsideTransaction: there is no open `atomic()` block on that database.
            BadSchedule, BadSubject, BadPayload: the argument is named, and nothing was written.
            AlreadyScheduled: a job stands under the key, and `on_conflict` is "raise".
        """
        return self.schedule_many(
            [(subject, payload, at, key)], late=late, on_conflict=on_conflict, using=using
        )[0]

    def schedule_many(
        self,
        plans: Iterable[tuple[S, P | None, When, str]],
        *,
        late: timedelta | None = None,
        on_conflict: OnConflict = "keep",
        using: str | None = None,
    ) -> list[Scheduled]:
        """`schedule` for many (subject, payload, at, key) at once: a few statements, or none written."""
        return registry.scheduler.schedule(
            self, list(plans), late=late, on_conflict=on_conflict, using=using
        )

    def reschedule(self, *, key: str, at: When, using: str | None = None) -> Changed:
        """
        Move the job that stands under *key* to another time, in the open transaction.

        Where its time has come meanwhile, or it was cancelled, nothing is changed and the result
        says what it is now. Without `using` the router says for the model where the job lies: no
        subject is at hand that it could ask about.

        Raises:
            OutsideTransaction, BadSchedule: as `schedule`.
        """
        return registry.scheduler.reschedule(self, key=key, at=at, using=using)

    def cancel(self, *, key: str, using: str | None = None) -> Changed:
        """
        Give up the job that stands under *key*, in the open transaction; the key is free again.

        If its time comes at the same moment, one of both wins, and the result says which.

        Raises:
            OutsideTransaction, BadSchedule: as `schedule`.
        """
        return registry.scheduler.cancel(self, key=key, using=using)

    def __repr__(self) -> str:
        return f"<Event {self.name}>"
