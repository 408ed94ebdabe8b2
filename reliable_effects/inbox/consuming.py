"""
`consume_once`: a function that handles a message, and the claim around it, in one transaction.

Which functions there are is remembered for the checks: two of them under one name would each see
only the messages that the other was not given first.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar, overload
from uuid import UUID

from django.db import router, transaction

from ..effects.names import checked_names
from ..exceptions import MessageConflicted
from .claiming import Claim, claim, id_text
from .hashing import Payload
from .models import InboxMessage

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Consumer:
    """One function that consumes under a name."""

    name: str
    function: str  # where it stands, for people
    using: str | None
    redelivered_for: timedelta | None


_declared: dict[tuple[str, str], Consumer] = {}


class _AroundAny(Protocol):
    """What decorates a function of any arguments: nothing else says which they are."""

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R | Claim]: ...


@overload
def consume_once(
    consumer: str,
    *,
    using: str | None = None,
    redelivered_for: timedelta | None = None,
) -> _AroundAny: ...


@overload
def consume_once(
    consumer: str,
    *,
    id: Callable[P, str | int | UUID],
    payload: Callable[P, Payload] | None = None,
    using: str | None = None,
    redelivered_for: timedelta | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R | Claim]]: ...


@overload
def consume_once(
    consumer: str,
    *,
    payload: Callable[P, Payload],
    using: str | None = None,
    redelivered_for: timedelta | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R | Claim]]: ...


def consume_once(
    consumer: str,
    *,
    id: Callable[P, str | int | UUID] | None = None,  # noqa: A002  # reads as what it is
    payload: Callable[P, Payload] | None = None,
    using: str | None = None,
    redelivered_for: timedelta | None = None,
) -> Any:
    """
    Run the function once for each message: in a transaction, with the claim of the message.

    Its arguments `message_id` and, where it has one, `payload` say which message it is; or `id=` and
    `payload=` do, functions of the same arguments. What it returns is returned; a duplicate returns
    `Claim.DUPLICATE`, which is false, and the function is not called. What it raises rolls back all
    that it wrote, and the claim: the next time it runs again. `redelivered_for` is how long the
    sender repeats a message, for a check that rows are kept longer.

        @consume_once("billing")
        def capture(message_id: str, payload: dict[str, Any]) -> None: ...

    Raises, at the call:
        MessageConflicted: the message was handled, with another payload. The mark is committed, but
            inside a transaction of the caller's (ATOMIC_REQUESTS) only with that one: catch it there.
        MessageBusy, BadMessage: see `claim`.
        TypeError: the function returned something to be awaited, or to be iterated over.
    Raises, at once:
        TypeError: nothing says which message it is, or the function is async, or yields.
        ValueError: *consumer* is no name.
    """
    checked_names("consumer", consumer, ())

    def decorate(function: Callable[P, R]) -> Callable[P, R | Claim]:
        signature = _checked(consumer, function, says_id=id is not None)
        place = f"{function.__module__}.{function.__qualname__}"
        _declared[consumer, place] = Consumer(consumer, place, using, redelivered_for)
        has_payload = "payload" in signature.parameters

        @wraps(function)
        def once(*args: P.args, **kwargs: P.kwargs) -> R | Claim:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            message = given.arguments["message_id"] if id is None else id(*args, **kwargs)
            content: Any = None
            if payload is not None:
                content = payload(*args, **kwargs)
            elif has_payload:
                content = given.arguments["payload"]
            alias = using or router.db_for_write(InboxMessage)
            with transaction.atomic(using=alias):
                found = claim(message, consumer=consumer, payload=content, using=alias)
                if found:
                    return _done(consumer, function(*args, **kwargs))
            # Behind the block, so that the mark on the row is not rolled back.
            if found is Claim.CONFLICTED:
                raise MessageConflicted(consumer, id_text(message))
            return found

        return once

    return decorate


def _done(consumer: str, result: R) -> R:
    """
    *result*, which must not be work that is still to be done: it would be, outside of all this.

    Raises:
        TypeError: it is a coroutine, a task, or a generator. What was written is rolled back.
    """
    if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        if inspect.iscoroutine(result):
            result.close()  # else Python warns that nobody awaited it
        raise TypeError(
            f'@consume_once("{consumer}"): the function returned a {type(result).__name__}, so nothing'
            " was handled yet. Is it, or what it is decorated with, around something async?"
        )
    return result


def _checked(consumer: str, function: Callable[..., Any], *, says_id: bool) -> inspect.Signature:
    called = (
        f'@consume_once("{consumer}") on {getattr(function, "__name__", type(function).__name__)}()'
    )
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{called}: it is async, and Django has no transactions there."
            " Write it sync, and await sync_to_async(…)(…) of it."
        )
    if inspect.isgeneratorfunction(function):
        raise TypeError(f"{called}: it yields, so it would run when the transaction is over.")
    if inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004  # an object
        raise TypeError(f"{called}: its __call__ is async, and Django has no transactions there.")
    signature = inspect.signature(function)
    if not says_id and "message_id" not in signature.parameters:
        raise TypeError(
            f"{called}: none of its arguments is called message_id."
            " Name one so, or say id=lambda …: …, a function of the same arguments."
        )
    return signature


def declared() -> list[Consumer]:
    """Every function that was decorated so far."""
    return list(_declared.values())


@contextmanager
def scratch() -> Iterator[None]:
    """For tests: what is decorated in the block is forgotten behind it."""
    before = dict(_declared)
    try:
        yield
    finally:
        _declared.clear()
        _declared.update(before)
