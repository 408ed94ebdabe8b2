"""
`@report("shop.weekly_usage", …)`: what a report is, how fresh it has to be, and who may read it.

A report is an effect too: each build is a delivery about its `Report` row, claimed, retried,
set aside and redriven like any other.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from ..conf import LONGEST_SPAN
from ..effects.backoff import Backoff
from ..effects.effect import Effect, effect
from ..effects.names import declared_at
from ..effects.options import refuse_deferred
from ..effects.registry import registry
from ..exceptions import DeclaredTwice
from . import build
from .formats import CSV, File, Format
from .models import Report, seen_now, where_reports_are
from .parameters import Parameters, identity_of

_LONGEST = timedelta(hours=6)
_TIMEOUT = timedelta(minutes=5)
_EXTENSION = re.compile(r"[a-z0-9][a-z0-9._-]{0,15}", re.ASCII)
_CONTENT_TYPE = re.compile(r"(?=.{3,100}\Z)[\w.+-]+/[\w.+-]+(; ?[\w=.+-]+)*", re.ASCII)


Allowed = Callable[..., bool]
"""(user, **parameters) → whether they may read the report with these. Asked at every request."""
Prebuild = Callable[[], Iterable[Mapping[str, Any]]]


@dataclass(eq=False, kw_only=True)
class ReportDefinition:
    """A declared report. Called like the function it was made from."""

    name: str
    function: Callable[..., Any] = field(repr=False)
    allowed: Allowed = field(repr=False)
    parameters: Parameters = field(repr=False)
    fresh_for: timedelta
    stale_for: timedelta | None
    keep: int
    every: timedelta | None
    prebuild: Prebuild | None = field(repr=False)
    format: Format
    gzip: bool
    schema: int
    longest: timedelta
    title: Callable[..., str] | None = field(repr=False)
    place: str = field(repr=False)
    effect: Effect[Any, Any] = field(init=False, repr=False)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self.function(*arguments, **keywords)

    @property
    def extension(self) -> str:
        return f"{self.format.extension}.gz" if self.gzip else self.format.extension

    @property
    def content_type(self) -> str:
        # What is kept is what is saved, under a name that says so: a Content-Encoding would have
        # some clients unpack it and others keep it packed, under one name.
        return "application/gzip" if self.gzip else self.format.content_type

    def may_read(self, user: Any, arguments: Mapping[str, Any]) -> bool:
        """
        As `allowed=` says.

        Raises:
            TypeError: it said neither yes nor no: a coroutine or an object is true, whoever asks.
        """
        answer = self.allowed(user, **arguments)
        if answer and answer is not True:
            raise TypeError(
                f"Report {self.name!r}: allowed= answered {answer!r:.100}; give True or False."
            )
        return bool(answer)

    def identity(self, canonical: Mapping[str, Any]) -> str:
        return identity_of(self.effect.identity, self.schema, canonical)

    def row(self, parameters: Mapping[str, Any]) -> Report:
        """
        The report with these parameters, made where there is none.

        Raises:
            TypeError, BadPayload: they are none of this report's.
        """
        return self.row_of(self.parameters.canonical(parameters))

    def row_of(self, canonical: dict[str, Any]) -> Report:
        """The same, of parameters that were checked."""
        identity = self.identity(canonical)
        found = seen_now(where_reports_are()).filter(identity=identity)
        row = found.first()
        if row is None:
            # By whoever comes first; the other finds it.
            Report.objects.using(where_reports_are()).get_or_create(
                identity=identity, defaults={"name": self.name, "parameters": canonical}
            )
            row = found.get()
        return row


def report(
    name: str,
    *,
    allowed: Allowed,
    fresh_for: timedelta,
    stale_for: timedelta | None = None,
    keep: int = 3,
    every: timedelta | None = None,
    prebuild: Prebuild | None = None,
    format: Format | None = None,  # noqa: A002  # what a caller would call it
    gzip: bool = False,
    title: Callable[..., str] | None = None,
    schema: int = 1,
    aliases: Sequence[str] = (),
    longest: timedelta = _LONGEST,
    timeout: timedelta = _TIMEOUT,
    max_attempts: int | None = None,
    backoff: Backoff | None = None,
    queue: str | None = None,
) -> Callable[[Callable[..., Any]], ReportDefinition]:
    """
    Declare a report over a function that yields rows, or writes a file (`format=File(…)`).

    allowed: `(user, **parameters)` → whether they may read it; asked at every request.
    fresh_for: how old it may be; what is older is served too, while the next one is built, until it
    is `stale_for` older than that (None: however old). keep: versions, the one served included.
    every: builds it ahead of time; `prebuild()` yields the parameters, where it has any.
    format: CSV(), JSONLines() or File(extension, content_type). gzip: kept and served as .gz.
    title: `(**parameters)` → what a download is called. schema: raise it where rows look different.
    longest: of one build; timeout: between two chunks. The rest is as for `@effect`.

    Raises:
        TypeError, ValueError: at decoration, naming the argument.
    """
    _check_spans(name, fresh_for, stale_for, every, longest)
    if not callable(allowed):
        raise TypeError(f"Report {name!r}: allowed={allowed!r}; give (user, **parameters) -> bool.")
    refuse_deferred(f"Report {name!r}: allowed=", allowed)
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 1:
        raise ValueError(f"Report {name!r}: keep={keep!r}; the one that is served is 1.")
    chosen = format or CSV()
    _check_format(name, chosen)
    place = declared_at(1)

    def declare(function: Callable[..., Any]) -> ReportDefinition:
        if not inspect.isgeneratorfunction(function):
            refuse_deferred(f"Report {name!r}", function)
        parameters = Parameters(name, function, skipped=1 if isinstance(chosen, File) else 0)
        if every is not None and prebuild is None and parameters.required:
            raise ValueError(
                f"Report {name!r}: every= needs prebuild=, which yields its parameters:"
                f" {', '.join(parameters.required)}."
            )
        declared = ReportDefinition(
            name=name,
            function=function,
            allowed=allowed,
            parameters=parameters,
            fresh_for=fresh_for,
            stale_for=stale_for,
            keep=keep,
            every=every,
            prebuild=prebuild,
            format=chosen,
            gzip=gzip,
            schema=schema,
            longest=longest,
            title=title,
            place=place,
        )

        # To the registry all reports stand in this file, so that the same lines may run twice.
        for each in (name, *aliases):
            other = definition(each)
            if other is not None and other.place != declared.place:
                raise DeclaredTwice("report", each, (other.place, declared.place))
        declared.effect = effect(
            name,
            subject="reliable_effects.Report",
            aliases=aliases,
            timeout=timeout,
            max_runtime=longest,
            max_attempts=max_attempts,
            backoff=backoff,
            queue=queue,
            subject_gone="skip",
        )(_Builds(declared))
        declared.__doc__ = function.__doc__
        return declared

    return declare


def definition(name: str) -> ReportDefinition | None:
    """The report of that name, or that had it; None where this release has none."""
    return _of(registry.find_effect(name))


def definitions() -> tuple[ReportDefinition, ...]:
    found = map(_of, registry.effects())
    return tuple(each for each in found if each is not None)


class _Builds:
    """What the effect of a report calls; and how the report is found by its effect's name."""

    def __init__(self, declared: ReportDefinition) -> None:
        self.declared = declared
        self.__name__, self.__doc__ = declared.name, declared.function.__doc__

    def __call__(self, row: Report, ctx: Any) -> None:
        build.build(self.declared, row, ctx)


def _of(known: Effect[Any, Any] | None) -> ReportDefinition | None:
    function = known.function if known is not None else None
    return function.declared if isinstance(function, _Builds) else None


def _check_format(name: str, chosen: Format) -> None:
    """What it says stands in keys, in columns and in headers."""
    for option, text, shape in (
        ("extension", chosen.extension, _EXTENSION),
        ("content_type", chosen.content_type, _CONTENT_TYPE),
    ):
        if not isinstance(text, str) or not shape.fullmatch(text):
            raise ValueError(
                f"Report {name!r}: format= has the {option} {text!r};"
                " give them as in File('pdf', 'application/pdf')."
            )


def _check_spans(
    name: str,
    fresh_for: Any,
    stale_for: timedelta | None,
    every: timedelta | None,
    longest: timedelta,
) -> None:
    optional = {"stale_for": stale_for, "every": every}
    given = {option: span for option, span in optional.items() if span is not None}
    for option, span in {"fresh_for": fresh_for, "longest": longest, **given}.items():
        if not isinstance(span, timedelta) or not timedelta(0) < span <= LONGEST_SPAN:
            raise ValueError(f"Report {name!r}: {option}={span!r}; give a positive timedelta.")
