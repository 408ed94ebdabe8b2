"""Effects: the code that must run because of an event, and how it wants to be run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import (
    Any,
    Generic,
    Protocol,
    TypeVar,
    Unpack,
    get_args,
    overload,
)
from uuid import UUID

from django.db.models import QuerySet

from ..conf import settings
from .backoff import Backoff
from .context import EffectContext
from .event import Event
from .keys import debt_key, delivery_key
from .names import checked_names, declared_at
from .options import (
    Options,
    Retention,
    SubjectGone,
    check_options,
    check_retention,
    refuse_deferred,
)
from .owed import ONCE, Debt, OwedQuery
from .registry import Emitted, registry

S = TypeVar("S")
P = TypeVar("P")
Q = TypeVar("Q", bound=Callable[[], QuerySet[Any]])


@dataclass(eq=False, kw_only=True)
class Effect(Generic[S, P]):
    """A declared effect. Called like the function it was made from; `promise` owes it."""

    do_not_call_in_templates = True  # a page shows what was declared

    function: Callable[[S, EffectContext[P]], None] = field(repr=False)
    name: str
    on: Event[S, P] | None
    own_event: Event[S, P] = field(repr=False)  # what a promise is written under
    aliases: tuple[str, ...]
    place: str = field(repr=False)
    backoff: Backoff
    verify: Callable[[S, EffectContext[P]], bool | None] | None = field(repr=False)
    still_needed: Callable[[S], bool] | None = field(repr=False)
    expires_after: timedelta | None
    max_runtime: timedelta | None
    dependency: str
    harmless_to_repeat: bool
    atomic: bool
    subject_gone: SubjectGone
    retention: Retention | None = None
    owed_query: OwedQuery | None = field(default=None, repr=False)
    _max_attempts: int | None = None
    _timeout: timedelta | None = None
    _queue: str | None = None

    def __call__(self, subject: S, ctx: EffectContext[P]) -> None:
        self.function(subject, ctx)

    @property
    def max_attempts(self) -> int:
        return self._max_attempts or settings().max_attempts

    @property
    def timeout(self) -> timedelta:
        return self._timeout or settings().timeout

    @property
    def queue(self) -> str:
        return self._queue or settings().queue

    @property
    def lease(self) -> timedelta:
        """How long a worker may stay silent before others take over."""
        return self.timeout + settings().lease_grace

    @property
    def identity(self) -> str:
        """What keys are derived from: the oldest name this effect has had."""
        return self.aliases[0] if self.aliases else self.name

    @property
    def event(self) -> Event[S, P]:
        """The event whose subject and payload this effect gets."""
        return self.on or self.own_event

    def key_of(self, event_id: UUID, pk: str, subject: S) -> UUID:
        """The key of what this effect owes *subject*: of its debt, or else because of one event."""
        if self.owed_query is None:
            return delivery_key(event_id, self.identity)
        return self.debt_key_of(self.owed_query.debt_of(subject), pk)

    def debt_key_of(self, debt: str, pk: str) -> UUID:
        """The key of the debt of that name, owed by the subject with that primary key."""
        return debt_key(self.identity, self.event.subject_identity, pk, debt)

    def promise(
        self,
        subject: S,
        /,
        payload: P | None = None,
        *,
        once: str | None = None,
        using: str | None = None,
    ) -> Emitted:
        """
        Owe this one effect for *subject*, in the open transaction; no event need be declared.

        Takes the place of `task.delay_on_commit(subject.pk)`. Raises what `Event.emit` raises.
        """
        return registry.writer.emit(
            self.own_event, (self,), [(subject, payload)], once=once, source="promise", using=using
        )[0]

    def owed(
        self,
        *,
        since: str,
        grace: timedelta,
        debt: Debt,
        reopen: bool = False,
        payload: Callable[[S], P] | None = None,
    ) -> Callable[[Q], Q]:
        """
        Say which subjects still owe this effect: a function that returns a queryset of them.

        It is the re-check before each run, and what reconcile walks to find what nobody promised.
        `since` names the field that says since when a row has been owing (index it), `grace` how
        long that is nobody's worry. `debt` is ONCE, or a function from the subject to a string that
        tells several debts of one subject apart; the delivery's key is derived from it, so the
        same debt promised twice is one delivery.
        reopen: what succeeded and is still owed is run again under its key, an hour, a day and a
        week after it ended; then it is set aside. Without it that is only reported.
        payload: what effects get where the event is lost and reconcile has to make it up; needed
        where the payload's type has fields without a default.
        """
        if self.owed_query is not None:
            raise ValueError(
                f"Effect {self.name!r} has an owed query already. Put the two into one queryset."
            )
        if self.event.subject is None:
            raise ValueError(f"Effect {self.name!r} has no subject; only a row can owe something.")
        if isinstance(self.retention, Mapping) and self.retention.get("CANCELLED") is not None:
            raise ValueError(
                f"Effect {self.name!r}: retention= has 'CANCELLED', and an owed query follows. What"
                " a person cancelled is how we know not to find it owed again: leave it out."
            )
        if debt is not ONCE and not callable(debt):
            raise TypeError(
                f"Effect {self.name!r}: debt={debt!r}; give ONCE, or a function from the subject to"
                " a string that tells its debts apart."
            )
        if not isinstance(grace, timedelta) or grace < timedelta(0):
            raise ValueError(f"Effect {self.name!r}: grace={grace!r}; give a timedelta.")
        if payload is not None and not callable(payload):
            raise TypeError(
                f"Effect {self.name!r}: payload={payload!r}; give a function from the subject to the"
                " payload of an event that is lost."
            )

        def attach(query: Q) -> Q:
            self.owed_query = OwedQuery(
                effect=self.name,
                query=query,
                since=since,
                grace=grace,
                debt=debt,
                reopen=reopen,
                payload=payload,
            )
            return query

        return attach


class Declare(Protocol):
    """Where no event says it, the function's own annotations are the types."""

    def __call__(self, function: Callable[[S, EffectContext[P]], None], /) -> Effect[S, P]: ...


@overload
def effect(
    name: str,
    *,
    on: Event[S, P],
    verify: Callable[[S, EffectContext[P]], bool | None] | None = None,
    still_needed: Callable[[S], bool] | None = None,
    **options: Unpack[Options],
) -> Callable[[Callable[[S, EffectContext[P]], None]], Effect[S, P]]: ...


@overload
def effect(
    name: str,
    *,
    subject: str | None = None,
    verify: Callable[[Any, EffectContext[Any]], bool | None] | None = None,
    still_needed: Callable[[Any], bool] | None = None,
    **options: Unpack[Options],
) -> Declare: ...


def effect(
    name: str,
    *,
    on: Event[Any, Any] | None = None,
    subject: str | None = None,
    aliases: Sequence[str] = (),
    max_attempts: int | None = None,
    backoff: Backoff | None = None,
    timeout: timedelta | None = None,
    max_runtime: timedelta | None = None,
    queue: str | None = None,
    dependency: str = "",
    verify: Callable[[Any, EffectContext[Any]], bool | None] | None = None,
    still_needed: Callable[[Any], bool] | None = None,
    expires_after: timedelta | None = None,
    harmless_to_repeat: bool = False,
    atomic: bool = False,
    subject_gone: SubjectGone = "poison",
    retention: Retention | None = None,
) -> Callable[[Callable[[Any, EffectContext[Any]], None]], Effect[Any, Any]]:
    """
    Declare an effect: `@effect("shop.charge_card", on=order_placed)`.

    name: what rows carry; `aliases` are its earlier names, oldest first.
    on: the event that owes it; without one it is owed by `promise()`, and `subject` names its model.
    max_attempts: runs in all, the first included. backoff: the rest between them.
    timeout: of one run, begun anew by `ctx.heartbeat()`; max_runtime bounds their sum.
    queue: which workers take it. dependency: the partner it needs, to be seen beside it.
    verify: `(subject, ctx)` → True (it happened), False (it did not), None (cannot tell); asked
    when a run ended without an answer.
    still_needed: asked for the subject right before each run; False ends as SKIPPED.
    expires_after: counted from the event; later than that ends as SKIPPED.
    harmless_to_repeat: run again after it succeeded it changes nothing, so it may be claimed and
    completed in groups. atomic: its writes and its completion are one transaction.
    subject_gone: where the subject's row is deleted: "poison", "skip", or "run" (it gets None).
    retention: how long what ended well is kept, or spans by state as in RETENTION_BY_STATE.

    Raises:
        TypeError, ValueError: at decoration, naming the argument.
    """
    declared = checked_names("effect", name, aliases)
    place = declared_at(1)
    spans: dict[str, Any] = {
        "timeout": timeout,
        "max_runtime": max_runtime,
        "expires_after": expires_after,
    }
    check_retention(name, retention)
    if isinstance(retention, timedelta):
        spans["retention"] = retention
    if on is not None and subject is not None:
        raise ValueError(f"Effect {name!r}: on= has a subject already; leave subject= out.")
    if harmless_to_repeat and (atomic or verify is not None):
        raise ValueError(
            f"Effect {name!r}: harmless_to_repeat=True goes with neither atomic=True nor verify=."
            " What is harmless to repeat needs no transaction around it and no question after it."
        )
    if subject_gone not in get_args(SubjectGone):
        raise ValueError(
            f"Effect {name!r}: subject_gone={subject_gone!r}; 'poison', 'skip', 'run'?"
        )
    check_options(name, spans, max_attempts, queue)
    for asked, question in (("verify", verify), ("still_needed", still_needed)):
        if question is not None:
            refuse_deferred(f"{asked}= of effect {name!r}", question)

    def declare(function: Callable[[Any, EffectContext[Any]], None]) -> Effect[Any, Any]:
        refuse_deferred(f"Effect {name!r}", function)
        made: Effect[Any, Any] = Effect(
            function=function,
            name=name,
            on=on,
            own_event=Event.of_promise(name, (*declared, name)[0], on, subject),
            aliases=declared,
            place=place,
            backoff=backoff or Backoff(),
            verify=verify,
            still_needed=still_needed,
            expires_after=expires_after,
            max_runtime=max_runtime,
            dependency=dependency,
            harmless_to_repeat=harmless_to_repeat,
            atomic=atomic,
            subject_gone=subject_gone,
            retention=retention,
            _max_attempts=max_attempts,
            _timeout=timeout,
            _queue=queue,
        )
        made.__doc__ = function.__doc__
        registry.add_effect(made)
        return made

    return declare
