"""Events: facts in the past tense about one subject."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar, get_origin, is_typeddict

from django.apps import apps
from django.db.models import Model

from ..exceptions import BadSubject
from .payloads import Codec, Json
from .registry import Emitted, registry

S = TypeVar("S")
P = TypeVar("P")

_NAME = re.compile(r"[A-Za-z_][\w.-]{0,199}")


def checked_names(kind: str, name: str, aliases: Sequence[str]) -> tuple[str, ...]:
    """
    *aliases* as a tuple, when every name may stand in a row.

    Raises:
        ValueError: a name is empty, too long (200), or holds other characters than [A-Za-z0-9_.-].
    """
    if isinstance(aliases, str):
        raise TypeError(f"{kind} {name!r}: aliases is one string; write [{aliases!r}].")
    for each in (name, *aliases):
        if not isinstance(each, str) or not _NAME.fullmatch(each):
            raise ValueError(f"{each!r} is no {kind} name. Write it like 'shop.order_placed'.")
    return tuple(aliases)


def declared_at(depth: int) -> str:
    """Where the caller's caller stands, to tell a reloaded declaration from a second one."""
    frame = inspect.currentframe()
    for _ in range(depth + 1):
        frame = frame.f_back if frame is not None else None
    return f"{frame.f_globals.get('__name__')}:{frame.f_lineno}" if frame is not None else "?"


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
        self._declare(name, subject, payload, version, upcast, aliases, subject_aliases)
        self.place = declared_at(1)
        registry.add_event(self)

    def _declare(
        self,
        name: str,
        subject: str | None,
        payload: type[P] | None,
        version: int,
        upcast: Mapping[int, Callable[[Json], Json]] | None,
        aliases: Sequence[str],
        subject_aliases: Sequence[str],
    ) -> None:
        if subject is not None and (not isinstance(subject, str) or subject.count(".") != 1):
            raise ValueError(f"Event {name!r}: subject={subject!r}; write it like 'shop.Order'.")
        if version < 1:
            raise ValueError(f"Event {name!r}: version={version}; versions count from 1.")
        self.aliases = checked_names("event", name, aliases)
        self.name = name
        self.subject = subject
        self.subject_aliases = tuple(alias.lower() for alias in subject_aliases)
        self.payload_type: type[P] | None = None
        self.codec = Codec(name, None, version, dict(upcast or {}))
        if payload is not None:
            self.declare_payload(payload)

    @classmethod
    def unnamed(cls, like: Event[S, P] | None, name: str, subject: str | None) -> Event[S, P]:
        """The event behind a promise: nobody declared it, so nobody else can listen to it."""
        event: Event[S, P] = cls.__new__(cls)
        event._declare(
            name,
            like.subject if like else subject,
            like.payload_type if like else None,
            like.version if like else 1,
            like.codec.upcast if like else None,
            (),
            like.subject_aliases if like else (),
        )
        event.place = declared_at(1)
        return event

    def declare_payload(self, payload: type[P]) -> None:
        """Say (late) which type the payload has: a dataclass or a TypedDict; dict means any."""
        if payload is dict or get_origin(payload) is dict or payload in (Any, type(None)):
            return
        if not (is_typeddict(payload) or hasattr(payload, "__dataclass_fields__")):
            raise TypeError(
                f"Event {self.name!r}: payload={payload!r}; give a dataclass or a TypedDict."
            )
        self.payload_type = payload
        self.codec = Codec(self.name, payload, self.version, self.codec.upcast)

    @property
    def version(self) -> int:
        return self.codec.version

    @property
    def model(self) -> type[Model] | None:
        """The subject's model class; LookupError names it where no app has it."""
        return apps.get_model(self.subject) if self.subject else None

    @property
    def subject_label(self) -> str:
        """What rows say of the subject's model; "" for an event about no row."""
        return self.subject.lower() if self.subject else ""

    @property
    def subject_identity(self) -> str:
        """What keys are derived from: the oldest label this model has had."""
        return self.subject_aliases[0] if self.subject_aliases else self.subject_label

    def check_subject(self, subject: Any) -> None:
        """
        Raises:
            BadSubject: *subject* is not a saved instance of the declared model.
        """
        model = self.model
        if model is None:
            if subject is not None:
                raise BadSubject(self.name, f"is {subject!r}; subject=None was declared.")
            return
        if not isinstance(subject, model._meta.concrete_model or model):
            raise BadSubject(
                self.name, f"is a {type(subject).__name__}; {self.subject} was declared."
            )
        if subject.pk is None:
            raise BadSubject(self.name, f"{subject!r} has no primary key yet. Save it first.")

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

    def __repr__(self) -> str:
        return f"<Event {self.name}>"
