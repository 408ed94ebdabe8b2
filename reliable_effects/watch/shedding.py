"""
Turn work away while too much of it waits: 503 for everybody, 429 for who has too much waiting.

A limit looks at queues, not at effects: what waits in one line waits together. Who only reads is
never turned away, and what was promised is carried out all the same.
"""

from __future__ import annotations

import json
import logging
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property, wraps
from inspect import isawaitable, iscoroutinefunction
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from ..clock import spoken
from ..conf import MOST_COUNTED, settings
from ..effects.effect import Effect
from ..effects.labels import labels_of
from ..effects.registry import registry
from ..outbox.models import Delivery
from .pressure import Gauge, Pressure, asked, drain, pressure

logger = logging.getLogger("reliable_effects")

SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
SHORTEST, LONGEST = 5, 300  # seconds, in Retry-After
JITTER = 0.2  # of it, so that those who were turned away do not come back together
_SUBJECTS = 1000  # rows of one asker that are looked at, the newest
_AT_LEAST_COUNTED = 2001  # rows: more than the relay keeps hinted, which lie out of order

View = TypeVar("View", bound=Callable[..., Any])
Answers = Callable[[Any], Any]

declared: list[Limit] = []
"""Every limit of this process, for the checks."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is turned away, and in how many seconds it may come back."""

    status: int
    code: str
    title: str
    detail: str
    wait: int

    def answer(self) -> HttpResponse:
        body = {
            "type": f"urn:reliable-effects:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        response = HttpResponse(
            json.dumps(body), status=self.status, content_type="application/problem+json"
        )
        response["Retry-After"] = str(self.wait)
        response["Cache-Control"] = "no-store"
        # Django logs each 5xx as an error, which mails ADMINS; the first one is logged here.
        response._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001  # how Django's own log_response is told
        return response


@dataclass(kw_only=True)
class Limit:
    """
    How much may wait before requests are turned away.

    Over `max_backlog` deliveries due, or one due for longer than `max_age`, in the `queue` or in
    any queue of the `effects`. Closed, a queue opens again under SHED_LOW_PERCENT of both.
    `max_backlog_per` deliveries may wait because of the rows that `per(request)` names: a queryset
    of the asker's subjects, of which the first 1,000 count (the newest, where it has no order), or
    None for who has no such limit. That is two queries for each request.
    `exempt(request)` says who is never turned away.
    """

    queue: str | None = None
    effects: Sequence[str | Effect[Any, Any]] = ()
    max_age: timedelta | None = None
    max_backlog: int | None = None
    per: Callable[[Any], QuerySet[Any] | None] | None = None
    max_backlog_per: int | None = None
    exempt: Callable[[Any], bool] | None = None
    using: str = DEFAULT_DB_ALIAS
    name: str = "shed_load"
    _lines: dict[str, _Line] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.effects, str | Effect):
            self.effects = (self.effects,)
        if problem := self._problem():
            raise ImproperlyConfigured(f"{self.name}: {problem}")
        declared.append(self)

    def _problem(self) -> str:
        limits_a_line = self.max_age is not None or self.max_backlog is not None
        if not limits_a_line and self.max_backlog_per is None:
            return "say max_age=timedelta(…), max_backlog=… or max_backlog_per=…."
        if limits_a_line and self.queue is None and not self.effects:
            return 'say which line: queue="…" or effects=["…"].'
        if self.queue is not None and self.effects:
            return "say queue= or effects=, not both."
        if (self.per is None) != (self.max_backlog_per is None):
            return "per= and max_backlog_per= go together."
        return self._bad_value()

    def _bad_value(self) -> str:
        age = self.max_age
        if age is not None and not (isinstance(age, timedelta) and age > timedelta(0)):
            return f"max_age={age!r}; it needs to be a timedelta longer than zero."
        for name in ("max_backlog", "max_backlog_per"):
            most = getattr(self, name)
            if most is not None and not (type(most) is int and 1 <= most <= MOST_COUNTED):
                return f"{name}={most!r}; it needs to be an int from 1 to {MOST_COUNTED}."
        return ""

    @cached_property
    def queues(self) -> tuple[str, ...]:
        """Where it looks: read late, since effects may be declared after views."""
        if self.queue is not None:
            return (self.queue,)
        known = [e if isinstance(e, Effect) else registry.effect(e) for e in self.effects]
        return tuple(dict.fromkeys(effect.queue for effect in known))

    def refusal(self, request: Any) -> Refusal | None:
        """Why *request* is turned away; None where it may come in."""
        if request.method in SAFE or (self.exempt is not None and self.exempt(request)):
            return None
        if self.max_age is not None or self.max_backlog is not None:
            for queue in self.queues:
                if (wait := self._line(queue).wait()) is not None:
                    return Refusal(
                        503,
                        "backlogged",
                        "Too much is waiting",
                        "Nothing was done. Come back after the seconds that Retry-After says.",
                        _strayed(wait),
                    )
        return self._over_quota(request)

    def _line(self, queue: str) -> _Line:
        if queue not in self._lines:
            self._lines[queue] = _Line(queue, self)
        return self._lines[queue]

    def _over_quota(self, request: Any) -> Refusal | None:
        subjects = self.per(request) if self.per is not None else None
        if subjects is None or self.max_backlog_per is None:
            return None
        most = self.max_backlog_per
        what = "how much of one asker waits"
        waiting = asked(self.using, what, lambda: _waiting(self.using, subjects, most + 1))
        if waiting is None or len(waiting) < most:
            return None
        queues = self.queues or tuple(dict.fromkeys(waiting))
        rates = [self._line(queue).rate() for queue in queues]
        return Refusal(
            429,
            "over-quota",
            "Too much of yours is waiting",
            f"Nothing was done. {most} may wait at a time; come back when some of it is done.",
            _strayed(_clamped(max(len(waiting) - most, 1), min(rates, default=0.0))),
        )

    def forget(self) -> None:
        """For tests: what was seen was seen in another one."""
        self._lines.clear()


class _Line:
    """One queue as one limit sees it: open, or closed until enough of it is worked off."""

    def __init__(self, queue: str, limit: Limit) -> None:
        self._queue, self._limit = queue, limit
        self._is_closed = False
        most = _AT_LEAST_COUNTED if limit.max_backlog is None else limit.max_backlog + 1
        self._pressure: Gauge = pressure(limit.using, queue, most)
        low = settings().shed_low_percent / 100
        self._low_age = None if limit.max_age is None else limit.max_age * low
        self._low_backlog = None if limit.max_backlog is None else limit.max_backlog * low
        self._drain: Gauge = drain(limit.using, queue, self._low_age or timedelta(0))

    def wait(self) -> float | None:
        """Seconds until it will be open; None where it is."""
        seen: Pressure | None = self._pressure.read()
        if seen is None:
            self._say(False, "cannot be seen")
            return None
        age = seen.oldest or timedelta(0)
        if self._is_closed:
            is_over = _is_over(age, self._low_age) or _is_over(seen.due, self._low_backlog)
        else:
            limit = self._limit
            is_over = _is_over(age, limit.max_age) or _is_over(seen.due, limit.max_backlog)
        self._say(is_over, f"{seen.due} due, the oldest for {spoken(age)}")
        return self._time_to_drain() if is_over else None

    def rate(self) -> float:
        seen = self._drain.read()
        return 0.0 if seen is None else seen.rate

    def _time_to_drain(self) -> float:
        seen = self._drain.read()
        if seen is None:
            return LONGEST
        excess = 1.0 if self._low_age is None else float(seen.late)
        if self._low_backlog is not None:
            excess = max(excess, seen.due - self._low_backlog)
        return _clamped(excess, seen.rate)

    def _say(self, is_closed: bool, why: str) -> None:
        if is_closed != self._is_closed:
            self._is_closed = is_closed
            if is_closed:
                logger.warning("turning work away from the queue %r: %s", self._queue, why)
            else:
                logger.warning("work may come to the queue %r again: %s", self._queue, why)


def _is_over(seen: Any, limit: Any) -> bool:
    return limit is not None and seen > limit


def _clamped(excess: float, rate: float) -> float:
    return min(max(excess / rate, SHORTEST), LONGEST) if rate > 0 else LONGEST


def _strayed(wait: float) -> int:
    return max(1, math.ceil(wait * random.uniform(1 - JITTER, 1 + JITTER)))  # noqa: S311  # no secret


def _waiting(using: str, subjects: QuerySet[Any], most: int) -> list[str]:
    """The queues of the deliveries, at most so many, that wait because of the first of *subjects*."""
    rows = subjects.using(using) if subjects.ordered else subjects.using(using).order_by("-pk")
    pks = [str(pk) for pk in rows.values_list("pk", flat=True)[:_SUBJECTS]]
    waiting = Delivery.objects.using(using).filter(
        look_at__isnull=False,
        event__subject_model__in=labels_of(rows.model),
        event__subject_pk__in=pks,
    )
    return list(waiting.values_list("queue", flat=True)[:most])


def shed_load(
    *,
    queue: str | None = None,
    effects: Sequence[str | Effect[Any, Any]] = (),
    max_age: timedelta | None = None,
    max_backlog: int | None = None,
    per: Callable[[HttpRequest], QuerySet[Any] | None] | None = None,
    max_backlog_per: int | None = None,
    exempt: Callable[[HttpRequest], bool] | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> Callable[[View], View]:
    """
    Turn requests of a view away while too much waits: 503 `backlogged`, or 429 `over-quota`.

    The arguments are those of `Limit`. Put it outside everything that writes, `@idempotent`
    included. What cannot be found out turns nobody away.

    Raises:
        ImproperlyConfigured: no limit, or no queue, or a value that limits nothing.
    """

    # Here and not in `decorate`, which `method_decorator` calls for each request.
    limit = Limit(
        queue=queue,
        effects=effects,
        max_age=max_age,
        max_backlog=max_backlog,
        per=per,
        max_backlog_per=max_backlog_per,
        exempt=exempt,
        using=using,
        name=f"shed_load on {_where(queue, effects)}",
    )

    def decorate(view: View) -> View:
        @wraps(view)
        def shedding(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            refusal = limit.refusal(request)
            return view(request, *args, **kwargs) if refusal is None else refusal.answer()

        @wraps(view)
        async def shedding_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            refusal = await sync_to_async(limit.refusal)(request)
            if refusal is not None:
                return refusal.answer()
            answer = view(request, *args, **kwargs)
            return await answer if isawaitable(answer) else answer

        wrapped: Any = shedding_async if _is_async(view) else shedding
        return wrapped  # type: ignore[no-any-return]  # it is called as the view is

    return decorate


def _where(queue: str | None, effects: Sequence[str | Effect[Any, Any]]) -> str:
    if queue is not None or not effects:
        return f"the queue {queue!r}"
    named = (effects,) if isinstance(effects, str | Effect) else effects
    return ", ".join(str(getattr(effect, "name", effect)) for effect in named)


def _is_async(view: Callable[..., Any]) -> bool:
    """Also the `dispatch` of a class with async methods: a `def` that gives a coroutine."""
    if iscoroutinefunction(view):
        return True
    # `method_decorator` hands in a partial of the bound method, for each request.
    owner = getattr(getattr(view, "func", view), "__self__", None)
    return getattr(owner, "view_is_async", False) is True


def forget() -> None:
    """For tests: what was seen, and what is closed, was so in another one."""
    for limit in declared:
        limit.forget()
