"""`shed_load` for REST framework: a throttle, since these come after login and permissions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS
from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from ..effects.effect import Effect
from ..watch.shedding import Limit
from .problems import Problem, answer_as_problem


class ShedLoad(BaseThrottle):
    """
    Subclass it, say the limit, and name it in `throttle_classes`.

    `queue`, `effects`, `max_age`, `max_backlog`, `max_backlog_per` and `using` are those of
    `shed_load`; `per` and `exempt` are methods to override.
    """

    queue: str | None = None
    effects: Sequence[str | Effect[Any, Any]] = ()
    max_age: timedelta | None = None
    max_backlog: int | None = None
    max_backlog_per: int | None = None
    using: str = DEFAULT_DB_ALIAS
    _limit: ClassVar[Limit | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        self = cls()
        has_quota = cls.per is not ShedLoad.per
        per: Callable[[Any], QuerySet[Any] | None] | None = self.per if has_quota else None
        cls._limit = Limit(
            queue=cls.queue,
            effects=cls.effects,
            max_age=cls.max_age,
            max_backlog=cls.max_backlog,
            per=per,
            max_backlog_per=cls.max_backlog_per,
            exempt=self.exempt,
            using=cls.using,
            name=cls.__qualname__,
        )

    def per(self, request: Request) -> QuerySet[Any] | None:
        """The asker's subjects, recent ones best; None for who may have as much as they like."""
        raise NotImplementedError

    def exempt(self, request: Request) -> bool:  # noqa: ARG002  # for who overrides it
        """Who is never turned away."""
        return False

    def allow_request(self, request: Request, view: APIView) -> bool:  # noqa: ARG002  # DRF's signature
        """
        True, or else it raises: REST framework would answer 429 by itself, whatever the reason.

        Raises:
            Problem: 503 `backlogged` or 429 `over-quota`, with `Retry-After`.
        """
        if self._limit is None:
            raise ImproperlyConfigured(
                "ShedLoad limits nothing: subclass it and say what it may be."
            )
        refusal = self._limit.refusal(request)
        if refusal is None:
            return True
        answer_as_problem(request)
        raise Problem(
            refusal.code, refusal.status, refusal.title, refusal.detail, wait=refusal.wait
        )
