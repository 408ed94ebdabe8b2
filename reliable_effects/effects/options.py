"""What an effect may say of how it wants to be run, and what is refused of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, Literal, TypedDict

from ..conf import LONGEST_SPAN, problem_of_retentions
from .backoff import Backoff

SubjectGone = Literal["poison", "skip", "run"]
Retention = timedelta | Mapping[str, timedelta | None]

_MOST_ATTEMPTS = 2**15 - 1  # a smallint counts them
_LONGEST_QUEUE = 100  # characters in a row


class Options(TypedDict, total=False):
    """What an effect may say besides what it is about."""

    aliases: Sequence[str]
    max_attempts: int | None
    backoff: Backoff | None
    timeout: timedelta | None
    max_runtime: timedelta | None
    queue: str | None
    dependency: str
    expires_after: timedelta | None
    harmless_to_repeat: bool
    atomic: bool
    subject_gone: SubjectGone
    retention: Retention | None


def check_options(name: str, spans: Mapping[str, Any], max_attempts: Any, queue: Any) -> None:
    for option, span in spans.items():
        if span is not None and (not isinstance(span, timedelta) or span <= timedelta(0)):
            raise ValueError(f"Effect {name!r}: {option}={span!r}; give a positive timedelta.")
        # timedelta.max, to say "never", would make an instant that no claim can write.
        if span is not None and span > LONGEST_SPAN:
            raise ValueError(
                f"Effect {name!r}: {option}={span!r}; give at most {LONGEST_SPAN.days} days."
            )
    if max_attempts is not None and not 1 <= max_attempts <= _MOST_ATTEMPTS:
        raise ValueError(
            f"Effect {name!r}: max_attempts={max_attempts}; give 1 to {_MOST_ATTEMPTS},"
            " the first run counts."
        )
    if queue is not None and not 1 <= len(queue) <= _LONGEST_QUEUE:
        raise ValueError(
            f"Effect {name!r}: queue={queue!r}; give a name of 1 to {_LONGEST_QUEUE} characters."
        )


def check_retention(name: str, retention: Any) -> None:
    """A span for what ended well, or spans by state; see RETENTION_BY_STATE."""
    if retention is None or isinstance(retention, timedelta):
        return  # a span is checked with the others
    if not isinstance(retention, Mapping):
        raise TypeError(
            f"Effect {name!r}: retention={retention!r}; give a timedelta, or a dict of them by"
            " state: {'SUCCEEDED': timedelta(days=30)}."
        )
    if problem := problem_of_retentions(retention):
        raise ValueError(f"Effect {name!r}: retention={retention!r}; {problem}")


def refuse_deferred(what: str, function: Callable[..., Any]) -> None:
    """What returns before it has run would count as done, and its coroutine as a yes."""
    called = getattr(function, "__call__", None)  # noqa: B004  # of an object with async __call__
    if any(map(iscoroutinefunction, (function, called))) or isasyncgenfunction(function):
        raise TypeError(
            f"{what} is an async def. Django has no async atomic(), so it needs to be a plain"
            " function: write `def`, and call asgiref.sync.async_to_sync inside."
        )
    if isgeneratorfunction(function):
        raise TypeError(f"{what} is a generator: calling it would run nothing. Take out `yield`.")
