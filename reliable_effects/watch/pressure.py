"""
How much waits in a queue, asked so cheaply that every request may go by it.

In: a queue, and how far to count. Out: a count that ends there, and since when the oldest of these
is due, in one walk over the front of one index. A process asks at most once in two seconds; what
takes too long is broken off, and what cannot be known counts as no pressure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, TypeVar

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Count, Max, Min, Q

from ..clock import DbNow, as_instant, now_sql
from ..conf import MOST_COUNTED, settings
from ..outbox import outage
from ..outbox.models import Delivery
from ..outbox.reconnect import mend
from ..outbox.states import ENDED_WELL

T = TypeVar("T")

_REST = 10.0  # seconds; a look that failed may have cost its whole patience
_NEWEST = MOST_COUNTED  # rows that ended last, of all queues: no index has them by queue
_LATELY = timedelta(minutes=1)  # what ended longer ago says nothing of now


@dataclass(frozen=True, slots=True)
class Pressure:
    """What is due in a queue; `due` ends where the count was to end."""

    due: int
    oldest: timedelta | None  # for how long the one of these that waits longest has been due


@dataclass(frozen=True, slots=True)
class Drain:
    """How far a queue is over what it should hold, and how fast it is worked off."""

    due: int  # rows, at most 10,000
    late: int  # of these: due for longer than was asked about
    rate: float  # rows in a second that ended well lately; 0 where nobody works


class Gauge:
    """The last look at one thing, for all requests of this process."""

    def __init__(self, using: str, what: str, look: Callable[[], T]) -> None:
        self._using, self._what, self._look = using, what, look
        self._seen: T | None = None
        self._stale_at = float("-inf")

    def read(self) -> Any:
        """What was seen at most SHED_FRESH_FOR ago; None where it could not be found out."""
        now = monotonic()
        # In a spoilt transaction nothing can be asked; that is the trouble of one request only.
        if now >= self._stale_at and not connections[self._using].needs_rollback:
            # At once, so that the other threads go by what was seen before, and one asks.
            self._stale_at = now + settings().shed_fresh_for.total_seconds()
            self._seen = self._asked()
        return self._seen

    def _asked(self) -> Any:
        seen = asked(self._using, self._what, self._look)
        if seen is None:
            self._stale_at = monotonic() + _REST
        return seen


def asked(using: str, what: str, look: Callable[[], T]) -> T | None:
    """What *look* finds within SHED_PATIENCE; None, and a line in the log, where it finds nothing."""
    connection = connections[using]
    if connection.needs_rollback:
        return None  # the caller's transaction is spoilt already, and nothing can be asked in it
    in_a_block = connection.in_atomic_block
    try:
        with _time_boxed(connection, settings().shed_patience):
            return look()
    except Error as error:
        outage.tell(f"could not see {what}, so no request is turned away for it", error)
        if not in_a_block:
            mend(using)
        return None


def pressure(using: str, queue: str, most: int) -> Gauge:
    """A gauge of *queue* that counts to *most*."""
    return Gauge(using, f"what waits in the queue {queue!r}", _Front(using, queue, most))


class _Front:
    """The front of a queue: one statement, made once, since to make it takes longer than to run it."""

    def __init__(self, using: str, queue: str, most: int) -> None:
        self._using = using
        self._rows = (
            Delivery.objects.using(using).in_front(queue).values_list("due_at", flat=True)[:most]
        )
        self._made: dict[str, tuple[str, Any]] = {}  # by the SQL of "now", which tests move

    def __call__(self) -> Pressure:
        connection = connections[self._using]
        now = now_sql(connection)
        if now not in self._made:
            rows, given = self._rows.query.get_compiler(self._using).as_sql()
            column = connection.ops.quote_name("due_at")
            sql = f"SELECT COUNT(*), MIN({column}), {now} FROM ({rows}) AS front"  # noqa: S608  # Django's own SQL
            self._made[now] = sql, given
        with connection.cursor() as cursor:
            cursor.execute(*self._made[now])
            count, oldest, at = cursor.fetchone()
        since = None if oldest is None else as_instant(oldest)
        return Pressure(count, _span(since, as_instant(at)))


def drain(using: str, queue: str, late_after: timedelta) -> Gauge:
    """A gauge of how long *queue* will take. It costs more, so it is read where there is pressure."""

    def look() -> Drain:
        late = Count("pk", filter=Q(due_at__lte=DbNow() - late_after))
        front = Delivery.objects.using(using).in_front(queue)
        seen = front[:MOST_COUNTED].aggregate(due=Count("pk"), late=late)
        return Drain(seen["due"], seen["late"], _rate(using, queue))

    return Gauge(using, f"how fast the queue {queue!r} is worked off", look)


def _rate(using: str, queue: str) -> float:
    """Deliveries of *queue* in a second, among the newest of all that ended well."""
    ended = Delivery.objects.using(using).filter(
        state__in=ENDED_WELL, finished_at__gt=DbNow() - _LATELY
    )
    newest = ended.order_by("-finished_at")[:_NEWEST].aggregate(
        all=Count("pk"),
        of_queue=Count("pk", filter=Q(queue=queue)),
        since=Min("finished_at"),
        now=Max(DbNow()),
    )
    span = _LATELY
    if newest["all"] == _NEWEST:
        span = _span(newest["since"], newest["now"]) or _LATELY
    return float(newest["of_queue"]) / max(span.total_seconds(), 0.001)


def _span(since: datetime | None, now: datetime | None) -> timedelta | None:
    return None if since is None or now is None else max(now - since, timedelta(0))


@contextmanager
def _time_boxed(connection: BaseDatabaseWrapper, patience: timedelta) -> Iterator[None]:
    """
    Break off each statement of the block after *patience*; an open transaction stays as it was.

    SQLite has no such bound. There the counts are the bound: a file does not answer late.
    """
    match connection.vendor:
        case "postgresql":
            # The limit, and what a statement that was broken off spoils, go with the savepoint.
            with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
                limit = f"{max(1, round(patience.total_seconds() * 1000))}ms"
                # Nor may it sort: for a long front PostgreSQL would rather read all that waits, or
                # the table, and sort it, since it does not know that both lie in one order.
                cursor.execute(
                    "SELECT set_config('statement_timeout', %s, true),"
                    " set_config('enable_sort', 'off', true)",
                    [limit],
                )
                yield
                transaction.set_rollback(True, using=connection.alias)
        case "mysql":
            box = f"SET STATEMENT max_statement_time={patience.total_seconds():f} FOR "
            with connection.execute_wrapper(_Prefix(box)):
                yield
        case _:
            yield


@dataclass(frozen=True, slots=True)
class _Prefix:
    text: str

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        return execute(self.text + sql, params, many, context)
