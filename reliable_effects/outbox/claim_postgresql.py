"""
Look and claim on PostgreSQL: one statement each, written out.

Rows are locked by id in a materialized CTE, and state and time are checked outside it: with a state
beside the id PostgreSQL may walk a whole partial index instead of the primary key (measured 6 ms
against 1). SKIP LOCKED: whoever holds the row will have changed it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from ..clock import in_utc, now_sql
from .claimed import KEPT, Claimed, Seen, Wanted, notes_of, worker_name
from .models import AnyJSON, Delivery, OutboxEvent
from .states import WAITING, State

_EVENT, _DELIVERY = OutboxEvent._meta.db_table, Delivery._meta.db_table
_from_json = AnyJSON().from_db_value  # Django's cursors give JSON as text


def look(connection: BaseDatabaseWrapper, ids: Sequence[int]) -> list[Seen]:
    """
    The due rows among *ids*, in their order.

    By the ORM it took nearly half as long as Celery does from the commit to the task (ADR 0027).
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT id, effect, queue, state, flags, notes, event_id, due_at,
                look_at IS NOT NULL AND due_at <= {now_sql(connection)}
            FROM {_DELIVERY} WHERE id = ANY(%s) ORDER BY id""",
            [list(ids)],
        )
        found = cursor.fetchall()
    return [
        Seen(
            connection.alias, pk, effect, queue, State(state), flags,
            notes_of(_from_json(notes, None, connection)), event, in_utc(due_at),
        )
        for pk, effect, queue, state, flags, notes, event, due_at, is_due in found
        if is_due and state in WAITING
    ]  # fmt: skip


_ROW = "d.id, d.claim_token, d.queue, d.key, d.generation, d.attempts, d.flags, d.notes"
_OF_EVENT = """e.id, e.name, e.version, e.subject_model, e.subject_pk, e.payload, e.correlation,
    e.trace_id, e.source, e.emitted_at"""


def _taken_by(now: str, *, token: str, lease: str, flags: str) -> str:
    return f"""state = {State.RUNNING}, attempts = d.attempts + (l.state = {State.PENDING})::int,
        claim_token = {token}, lease_expires_at = {now} + {lease} * INTERVAL '1 second',
        hints = 0, look_at = NULL, flags = d.flags & {KEPT} | {flags}, worker = %s"""


def _free(now: str, *, state: str) -> str:
    return f"l.state = {state} AND l.due_at <= {now} AND l.look_at IS NOT NULL"


def one_sql(connection: BaseDatabaseWrapper) -> str:
    """The claim of one row; `claimed_of` reads what it answers, if anything."""
    now = now_sql(connection)
    taken = _taken_by(now, token="%s", lease="%s", flags="%s")  # noqa: S106  # no password
    return f"""
    WITH l AS MATERIALIZED (
        SELECT id, state, due_at, look_at, event_id FROM {_DELIVERY}
        WHERE id = %s FOR UPDATE SKIP LOCKED
    )
    UPDATE {_DELIVERY} d SET {taken}
    FROM l LEFT JOIN {_EVENT} e ON e.id = l.event_id
    WHERE d.id = l.id AND {_free(now, state="%s")}
    RETURNING {_ROW}, {now}, {_OF_EVENT}"""


def one_parameters(w: Wanted) -> list[Any]:
    return [w.id, w.token, w.lease.total_seconds(), w.flags, worker_name(), int(w.state)]


def take(
    connection: BaseDatabaseWrapper, wanted: Sequence[Wanted], *, asynchronous: bool
) -> list[Claimed]:
    now = now_sql(connection)
    hurry = "SELECT set_config('synchronous_commit', 'off', true)" if asynchronous else "SELECT 1"
    taken = _taken_by(now, token="w.token", lease="w.lease", flags="w.flags")  # noqa: S106  # no password
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH hurry AS MATERIALIZED ({hurry}), w AS (
                SELECT * FROM unnest(%s::bigint[], %s::smallint[], %s::bigint[], %s::float8[],
                    %s::int[]) AS w(id, state, token, lease, flags)
            ), l AS MATERIALIZED (
                SELECT id, state, due_at, look_at, event_id FROM {_DELIVERY}
                WHERE id = ANY(%s) ORDER BY id FOR UPDATE SKIP LOCKED
            )
            UPDATE {_DELIVERY} d SET {taken}
            FROM hurry, l JOIN w USING (id) LEFT JOIN {_EVENT} e ON e.id = l.event_id
            WHERE d.id = l.id AND {_free(now, state="w.state")}
            RETURNING {_ROW}, {now}, {_OF_EVENT}""",
            [
                [w.id for w in wanted],
                [int(w.state) for w in wanted],
                [w.token for w in wanted],
                [w.lease.total_seconds() for w in wanted],
                [w.flags for w in wanted],
                [w.id for w in wanted],
                worker_name(),
            ],
        )
        rows = {row[0]: row for row in cursor.fetchall()}
    return [claimed_of(connection, w, rows[w.id]) for w in wanted if w.id in rows]


_WIDTH = 9  # of what is told of a delivery, before its event


def claimed_of(connection: BaseDatabaseWrapper, w: Wanted, row: Sequence[Any]) -> Claimed:
    """What was wanted, and is ours, of a row that one of the claims above answered."""
    pk, token, queue, key, generation, attempts, flags, notes, now = row[:_WIDTH]
    event = row[_WIDTH:]
    return Claimed(
        using=connection.alias,
        id=pk,
        token=token,
        effect=w.effect,
        queue=queue,
        key=key,
        generation=generation,
        attempt=attempts,
        flags=flags,
        notes=notes_of(_from_json(notes, None, connection)) or {},
        event=_event(connection, event) if event[0] is not None else None,
        claimed_at=in_utc(now),
        due_at=w.due_at,
    )


def _event(connection: BaseDatabaseWrapper, row: Sequence[Any]) -> OutboxEvent:
    names = [field.attname for field in OutboxEvent._meta.concrete_fields]
    values = [
        _from_json(value, None, connection) if name == "payload" else value
        for name, value in zip(names, row, strict=True)
    ]
    return OutboxEvent.from_db(connection.alias, names, values)
