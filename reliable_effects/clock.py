"""
The one clock that decides: the database's, at the beginning of the statement.

Worker clocks stray, and a transaction's `now()` stands still while it waits, so neither may say
whether a lease is over (design, rule 8).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, DurationField, Func, Value

_shift = timedelta(0)  # moved by reliable_effects.testing only


def now_sql(connection: BaseDatabaseWrapper) -> str:
    """The SQL of "now" for *connection*: microseconds, on SQLite milliseconds; always UTC."""
    seconds = _shift.total_seconds()
    match connection.vendor:
        case "postgresql":
            moved = f" + INTERVAL '{seconds:f} seconds'" if seconds else ""
            return f"(statement_timestamp(){moved})"
        case "mysql":
            moved = f" + INTERVAL {seconds:f} SECOND" if seconds else ""
            return f"(UTC_TIMESTAMP(6){moved})"
        case "sqlite":
            moved = f", '{seconds:+f} seconds'" if seconds else ""
            # %% because Django's cursors format. SQLite compares instants as text, so this is
            # spelled as Django spells one: six digits, and none where the second is whole.
            now = f"STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'now'{moved}) || '000'"
            return f"(REPLACE({now}, '.000000', ''))"
        case vendor:
            raise NotImplementedError(f"reliable_effects does not support {vendor!r} databases.")


class DbNow(Func):
    """`now_sql` as an expression: `.filter(due_at__lte=DbNow())`."""

    output_field = DateTimeField()

    def __add__(self, other: Any) -> Any:
        return super().__add__(_Span(other) if isinstance(other, timedelta) else other)

    def __sub__(self, other: Any) -> Any:
        return super().__sub__(_Span(other) if isinstance(other, timedelta) else other)

    def as_sql(  # type: ignore[override]  # django-stubs wants the template arguments we do not use
        self,
        compiler: Any,  # noqa: ARG002  # Django's signature
        connection: BaseDatabaseWrapper,
        **_: Any,
    ) -> tuple[str, list[Any]]:
        return now_sql(connection), []


class _Span(Value):
    """A span in seconds. As an interval of days PostgreSQL would count days of the session's zone."""

    output_field = DurationField()

    def as_postgresql(self, *_: Any, **__: Any) -> tuple[str, list[Any]]:
        return "(%s * INTERVAL '1 second')", [self.value.total_seconds()]


def read_clock(using: str) -> datetime:
    """What the database's clock says now. One round trip."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {now_sql(connection)}", ())
        (value,) = cursor.fetchone()
    return as_instant(value)


def as_instant(value: Any) -> datetime:
    """*value* as a cursor gives it where no field has converted it: SQLite has texts."""
    return in_utc(datetime.fromisoformat(value) if isinstance(value, str) else value)


def in_utc(value: datetime) -> datetime:
    """*value* as the database gave it. Between two instants in one zone Python counts by the wall."""
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


@contextmanager
def moved(by: timedelta) -> Iterator[None]:
    """Move "now" for this process while the block runs: a tool for tests, never for workers."""
    global _shift  # noqa: PLW0603  # one clock per process is the point
    before, _shift = _shift, _shift + by
    try:
        yield
    finally:
        _shift = before


def spoken(span: timedelta) -> str:
    """*span* for people, in its largest unit, rounded down: "41 s", "3 min", "5 h", "12 days"."""
    seconds = abs(int(span.total_seconds()))
    if seconds < 60:  # noqa: PLR2004  # a minute
        return f"{seconds} s"
    if seconds < 3600:  # noqa: PLR2004  # an hour
        return f"{seconds // 60} min"
    if seconds < 2 * 86400:
        return f"{seconds // 3600} h"
    return f"{seconds // 86400} days"
