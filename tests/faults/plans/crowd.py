"""
Full tables: 100,000 rows that have ended, as many for tomorrow, 10,000 due, some dead and set aside.

They are committed once for a module; a test changes them in a transaction that is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.db import connection

from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent, Sweep
from reliable_effects.outbox.states import Flag, Reason, State

QUEUES = ("queue-0", "queue-1", "queue-2")
OLD_QUEUE = "queue-9"  # had work once
FINISHED, FAR, DUE, DEAD, POISONED = 100_000, 100_000, 10_000, 40, 500
FIRST_DUE = FINISHED + 1  # numbers of events; those of what is due follow those of what has ended

_EVENT, _DELIVERY = OutboxEvent._meta.db_table, Delivery._meta.db_table
_TABLES = [model._meta.db_table for model in (Attempt, Delivery, OutboxEvent, Sweep)]


@dataclass(frozen=True)
class _Kind:
    """Rows that stand alike, as SQL; `n` counts them from 1."""

    count: int
    state: State
    due: timedelta  # from now; each further by a second
    waits: bool = False
    token: str = "NULL"
    lease: str = "NULL"
    finished: bool = False
    reason: str = ""
    first_event: int = 1
    queue: str = ""


_ENDED = _Kind(FINISHED - 1, State.SUCCEEDED, timedelta(days=-1), finished=True)
_ENDED_ELSEWHERE = _Kind(
    1, State.SUCCEEDED, timedelta(days=-1), finished=True, first_event=FINISHED, queue=OLD_QUEUE
)
_TOMORROW = _Kind(FAR, State.PENDING, timedelta(days=1), waits=True)
_DUE_NOW = _Kind(DUE, State.PENDING, timedelta(0), waits=True, first_event=FIRST_DUE)
_DIED = _Kind(DEAD, State.RUNNING, timedelta(0), token="n", lease="now")
_PILLS = _Kind(POISONED, State.POISONED, timedelta(0), finished=True, reason=Reason.ATTEMPTS_SPENT)


def known_crowd() -> Iterator[None]:
    """The statistics are of today."""
    yield from _crowd(analyse_early=False)


def surprising_crowd() -> Iterator[None]:
    """The statistics are of a night when nothing was pending, and then everything came at once."""
    yield from _crowd(analyse_early=True)


def _crowd(*, analyse_early: bool) -> Iterator[None]:
    _statistics_by_hand(True)
    try:
        _events(FINISHED + DUE)
        _rows(_ENDED)
        _rows(_ENDED_ELSEWHERE)
        if analyse_early:
            _analyse()
        for kind in (_TOMORROW, _DUE_NOW, _DIED, _PILLS):
            _rows(kind)
        if not analyse_early:
            _analyse()
        yield
    finally:
        _empty()
        _statistics_by_hand(False)


def _events(count: int) -> None:
    _execute(
        f"""INSERT INTO {_EVENT} (id, name, version, subject_model, subject_pk, payload,
            correlation, trace_id, source, emitted_at)
        SELECT {_event_id("n")}, 'shop.wrap', 1, '', '', '{{}}', {_any_uuid()}, '', 'promise',
            {_from_now(timedelta(days=-1))} FROM {_numbers(count)}"""
    )


def _rows(kind: _Kind) -> None:
    due = _from_now(kind.due, "-" if kind.due <= timedelta(0) else "+")
    queue = f"'{kind.queue}'" if kind.queue else f"CONCAT('queue-', n % {len(QUEUES)})"
    _execute(
        f"""INSERT INTO {_DELIVERY} (event_id, effect, `key`, generation, queue, state, reason,
            due_at, look_at, hints, attempts, claim_token, lease_expires_at, worker, finished_at,
            flags)
        SELECT {_event_id(f"n + {kind.first_event - 1}")}, 'shop.wrap', {_any_uuid()}, 0, {queue},
            {kind.state:d}, '{kind.reason}', {due}, {due if kind.waits else "NULL"}, 0,
            {int(not kind.waits)}, {kind.token},
            {_from_now(timedelta(0)) if kind.lease == "now" else "NULL"}, '',
            {due if kind.finished else "NULL"}, {0 if kind.waits else Flag.BEGUN}
        FROM {_numbers(kind.count)}"""
    )


# The two dialects


def _is_postgres() -> bool:
    return connection.vendor == "postgresql"


def _numbers(count: int) -> str:
    if _is_postgres():
        return f"generate_series(1, {count}) AS numbers(n)"
    return f"(SELECT seq AS n FROM seq_1_to_{count}) AS numbers"


def _event_id(number: str) -> str:
    if _is_postgres():
        return f"lpad(to_hex({number}), 32, '0')::uuid"
    return f"LPAD(HEX({number}), 32, '0')"


def _any_uuid() -> str:
    return "gen_random_uuid()" if _is_postgres() else "REPLACE(UUID(), '-', '')"


def _from_now(span: timedelta, further: str = "") -> str:
    """Now and *span*; with "+" or "-" a second further for each row."""
    if _is_postgres():
        each = f"{further} n * interval '1 second'" if further else ""
        return f"now() + {span.total_seconds():.0f} * interval '1 second' {each}"
    each = f"{further} INTERVAL n SECOND" if further else ""
    return f"UTC_TIMESTAMP(6) + INTERVAL {span.total_seconds():.0f} SECOND {each}"


def _analyse() -> None:
    tables = ", ".join(_TABLES)
    _execute(f"ANALYZE {tables}" if _is_postgres() else f"ANALYZE TABLE {tables}")


def _statistics_by_hand(by_hand: bool) -> None:
    """Else the server reads the rows by itself, at some moment of the test."""
    for table in _TABLES:
        if _is_postgres():
            _execute(f"ALTER TABLE {table} SET (autovacuum_enabled = {not by_hand})")
        else:
            _execute(f"ALTER TABLE {table} STATS_AUTO_RECALC = {0 if by_hand else 'DEFAULT'}")


def _empty() -> None:
    for table in _TABLES:
        _execute(f"TRUNCATE {table}")


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.replace("`", '"') if _is_postgres() else sql)
