"""
Every declared event and effect, found by the names that rows carry.

The floors below import neither the outbox nor the schedule nor what sends; `apps.ready()` hands
them in here.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import get_annotations
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from django.core.exceptions import AppRegistryNotReady, ImproperlyConfigured

from ..exceptions import DeclaredTwice, UnknownEffect, UnknownEvent
from .scheduling import Scheduler
from .sending import Sender

if TYPE_CHECKING:
    from .effect import Effect
    from .event import Event


@dataclasses.dataclass(frozen=True, slots=True)
class Emitted:
    """What one emit wrote."""

    event_id: UUID
    promised: tuple[str, ...]  # effects that are owed now because of it
    already_promised: tuple[str, ...]  # effects whose debt stood before, and was left as it is


class Writer(Protocol):
    """What the outbox offers to `Event.emit` and `Effect.promise`."""

    def emit(
        self,
        event: Event[Any, Any],
        effects: Sequence[Effect[Any, Any]],
        facts: Sequence[tuple[Any, Any]],
        *,
        once: str | Sequence[str] | None,  # one for all facts, or one for each
        source: str,
        using: str | None,
    ) -> list[Emitted]: ...


class Registry:
    """Names to declarations. One per process: `registry`."""

    def __init__(self) -> None:
        self._events: dict[str, Event[Any, Any]] = {}
        self._effects: dict[str, Effect[Any, Any]] = {}
        self._by_event: dict[str, tuple[Effect[Any, Any], ...]] = {}
        self._writer: Writer | None = None
        self._scheduler: Scheduler | None = None
        self._sender: Sender | None = None

    # Declaring

    def add_event(self, event: Event[Any, Any]) -> None:
        self._claim(self._events, "event", event)

    def add_effect(self, effect: Effect[Any, Any]) -> None:
        self._claim(self._effects, "effect", effect)
        if effect.on is not None:
            names = {effect.name, *effect.aliases}
            others = tuple(e for e in self.on(effect.on) if e.name not in names)
            self._by_event[effect.on.name] = (*others, effect)

    @staticmethod
    def _claim(table: dict[str, Any], kind: str, declared: Any) -> None:
        for name in (declared.name, *declared.aliases):
            other = table.get(name)
            # The same lines run twice (a reloaded module) replace what they declared before.
            if other is not None and other.place != declared.place:
                raise DeclaredTwice(kind, name, (other.place, declared.place))
        for name in (declared.name, *declared.aliases):
            table[name] = declared

    # Finding

    def event(self, name: str) -> Event[Any, Any]:
        try:
            return self._events[name]
        except KeyError:
            raise UnknownEvent(f"No event {name!r} is declared in this release.") from None

    def effect(self, name: str) -> Effect[Any, Any]:
        try:
            return self._effects[name]
        except KeyError:
            raise UnknownEffect(f"No effect {name!r} is declared in this release.") from None

    def find_effect(self, name: str) -> Effect[Any, Any] | None:
        return self._effects.get(name)

    def find_event(self, name: str) -> Event[Any, Any] | None:
        return self._events.get(name)

    def names_like(self, name: str) -> tuple[str, ...]:
        """All names, aliases included, of the effect called *name*; *name* alone, of a stranger."""
        effect = self.find_effect(name)
        return (name,) if effect is None else (effect.name, *effect.aliases)

    def on(self, event: Event[Any, Any]) -> tuple[Effect[Any, Any], ...]:
        return self._by_event.get(event.name, ())

    def effects(self) -> tuple[Effect[Any, Any], ...]:
        return tuple(dict.fromkeys(self._effects.values()))

    def events(self) -> tuple[Event[Any, Any], ...]:
        return tuple(dict.fromkeys(self._events.values()))

    def effect_names(self) -> tuple[str, ...]:
        """Every name that a row may carry and this release can run, aliases included."""
        return tuple(self._effects)

    def queues(self) -> set[str]:
        return {effect.queue for effect in self.effects()}

    # The way to the outbox

    @property
    def writer(self) -> Writer:
        if self._writer is None:
            raise AppRegistryNotReady(
                "Nothing can be emitted before Django is set up."
                " Is 'reliable_effects' in INSTALLED_APPS, and was django.setup() called?"
            )
        return self._writer

    def use(self, writer: Writer) -> None:
        self._writer = writer

    @property
    def scheduler(self) -> Scheduler:
        if self._scheduler is None:
            raise AppRegistryNotReady(
                "Nothing can be scheduled before Django is set up."
                " Is 'reliable_effects' in INSTALLED_APPS, and was django.setup() called?"
            )
        return self._scheduler

    def use_scheduler(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    @property
    def sender(self) -> Sender:
        if self._sender is None:
            raise AppRegistryNotReady(
                "Nothing can be sent before Django is set up."
                " Is 'reliable_effects' in INSTALLED_APPS, and was django.setup() called?"
            )
        return self._sender

    def use_sender(self, sender: Sender) -> None:
        self._sender = sender

    # Making sense of annotations

    def read_annotations(self, module: Any) -> None:
        """
        Take payload types from `placed: Event[Order, OrderPlaced] = Event(…)` in *module*.

        Raises:
            ImproperlyConfigured: the annotation names something that is only imported for type
                checkers; `payload=` says it at run time.
        """
        # By identity: what else the module holds may compare as it pleases.
        ours = {id(event): event for event in self._events.values()}
        for name, annotation in get_annotations(module).items():
            event = ours.get(id(getattr(module, name, None)))
            if event is None or event.payload_type is not None:
                continue
            # By itself: the module's other annotations may be for type checkers only.
            alone = SimpleNamespace(__annotations__={name: annotation})
            try:
                kind = typing.get_type_hints(alone, vars(module))[name]
            except NameError as error:
                raise ImproperlyConfigured(
                    f"{module.__name__}: the annotation of {name} cannot be read ({error})."
                    " Import the name at run time, or say Event(…, payload=TheType)."
                ) from error
            if arguments := typing.get_args(kind):
                event.declare_payload(arguments[1])

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """Forget, at the end of the block, what was declared inside it. For tests."""
        before = dict(self._events), dict(self._effects), dict(self._by_event)
        try:
            yield
        finally:
            self._events, self._effects, self._by_event = before


registry = Registry()
