"""
Take a delivery: one guarded UPDATE that counts the attempt and writes a fresh token.

In: ids from a hint, which may be anything. Out: what this worker now holds, with its event. Whoever
holds a `Claimed` may act until its lease ends; everything it writes says the token.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, ExpressionWrapper, F, Q

from ..clock import DbNow, in_utc, now_sql
from ..conf import settings
from ..effects.effect import Effect
from ..effects.keys import outgoing_key
from ..effects.registry import registry
from .models import AnyJSON, Delivery, DeliveryQuerySet, OutboxEvent
from .persist import UNBEGUN, surely
from .states import WAITING, Flag, State

_EVENT, _DELIVERY = OutboxEvent._meta.db_table, Delivery._meta.db_table
_from_json = AnyJSON().from_db_value  # Django's cursors give JSON as text


@dataclass(frozen=True, slots=True)
class Seen:
    """A row as a hint's reader found it. Nothing is decided by it but whom to try to claim."""

    using: str
    id: int
    effect_name: str
    queue: str
    state: State
    flags: int
    notes: dict[str, Any] | None
    event_id: UUID
    due_at: datetime | None = None

    @property
    def effect(self) -> Effect[Any, Any] | None:
        return registry.find_effect(self.effect_name)

    @property
    def alone(self) -> bool:
        return bool(self.flags & Flag.ALONE)


UNREAD = object()
"""Nobody has asked for the subject yet."""


@dataclass(slots=True, eq=False)
class Claimed:
    """A delivery that is ours until its lease ends, and the event it is owed for."""

    using: str
    id: int
    token: int
    effect: Effect[Any, Any]
    queue: str
    key: UUID
    generation: int
    attempt: int
    flags: int
    notes: dict[str, Any]
    event: OutboxEvent | None  # None where somebody deleted it
    claimed_at: datetime  # by the database's clock
    due_at: datetime | None = None  # as it was found before the claim; for showing how late it is
    subject: Any = UNREAD  # as it was found after the claim, where that cost no round trip

    @property
    def verifying(self) -> bool:
        return bool(self.flags & Flag.VERIFYING)

    @property
    def idempotency_key(self) -> str:
        return str(outgoing_key(self.key, self.generation))


def look(using: str, ids: Iterable[int]) -> list[Seen]:
    """The due rows among *ids*, in their order. Reads by primary key only."""
    # Again after an error: a connection that was kept may have been cut off while it was idle.
    return surely(using, lambda: _look(using, list(ids)), patience=UNBEGUN)


def _look(using: str, ids: Sequence[int]) -> list[Seen]:
    rows = (
        Delivery.objects.using(using)
        .filter(pk__in=ids)
        .order_by("pk")
        # Fetched without a state in the WHERE: with one, PostgreSQL may walk a whole partial
        # index instead of the primary key (measured 6 ms against 1).
        .annotate(is_due=_IS_DUE)
        .values_list(
            "pk", "effect", "queue", "state", "flags", "notes", "event_id", "due_at", "is_due"
        )
    )
    return [
        Seen(using, pk, effect, queue, State(state), flags, _notes(notes), event, in_utc(due_at))
        for pk, effect, queue, state, flags, notes, event, due_at, is_due in rows
        if is_due and state in WAITING
    ]


# Compared there: to read an instant costs Python as much as all else of a row.
_IS_DUE = ExpressionWrapper(
    Q(look_at__isnull=False, due_at__lte=DbNow()), output_field=BooleanField()
)


def claim(seen: Sequence[Seen], *, group: bool = False) -> list[Claimed]:
    """
    Take those of *seen* that are still free; all are of one database, and known here.

    `group` marks them as one harmless group: they may die together, and their claim need not
    survive a crash of the database (it is committed asynchronously on PostgreSQL).
    """
    if not seen:
        return []
    # A group shares one token: it is claimed, and may be released and completed, in one statement.
    token = new_token() if group else None
    wanted = [Wanted.of(row, token=token) for row in seen]
    using = seen[0].using

    return surely(
        using,
        lambda: _take(using, wanted, group=group),
        after_doubt=lambda: retake(using, wanted, group=group),
        patience=UNBEGUN,
    )


def retake(using: str, wanted: Sequence[Wanted], *, group: bool = False) -> list[Claimed]:
    """After a lost answer: the tokens are ours, so ask which rows carry them, and else try again."""
    return _held(using, wanted) or _take(using, wanted, group=group)


def _take(using: str, wanted: Sequence[Wanted], *, group: bool) -> list[Claimed]:
    connection = connections[using]
    if connection.vendor == "postgresql":
        return _take_postgresql(connection, wanted, asynchronous=group)
    return _take_portable(using, wanted)


@dataclass(frozen=True, slots=True)
class Wanted:
    id: int
    state: State
    token: int
    lease: timedelta
    flags: int
    effect: Effect[Any, Any]
    due_at: datetime | None

    @classmethod
    def of(cls, seen: Seen, *, token: int | None = None) -> Wanted:
        """What to write for *seen*; a *token* is given to the members of one group."""
        effect = seen.effect
        assert effect is not None  # noqa: S101  # callers set unknown names apart
        flags, lease = Flag.BEGUN, effect.lease
        if token is not None:
            flags |= Flag.GROUP
            # All of a group wait for the one that runs. Where that hangs the others come back as
            # soon as a lost hint would; to run what had succeeded again is harmless.
            lease = min(lease, settings().relay_grace)
        if effect.verify is not None:
            flags |= Flag.VERIFIABLE
        if seen.state == State.UNCERTAIN:
            flags |= Flag.VERIFYING
        return cls(seen.id, seen.state, token or new_token(), lease, flags, effect, seen.due_at)


def new_token() -> int:
    """Random, because counters repeat after a crash or a restore. 63 bits fit a signed bigint."""
    return secrets.randbits(63)


def worker_name() -> str:
    return f"{socket.gethostname()[:80]}:{os.getpid()}"


# Flags that outlive a claim: all but those it writes, also such as only the next release knows.
_KEPT = ~(Flag.GROUP | Flag.VERIFIABLE | Flag.VERIFYING) & 0x7FFF

_ROW = "d.id, d.claim_token, d.queue, d.key, d.generation, d.attempts, d.flags, d.notes"
_OF_EVENT = """e.id, e.name, e.version, e.subject_model, e.subject_pk, e.payload, e.correlation,
    e.trace_id, e.source, e.emitted_at"""
EVENT_SQL = f"SELECT {_OF_EVENT} FROM {_EVENT} e WHERE e.id = %s"


def _taken_by(now: str, *, token: str, lease: str, flags: str) -> str:
    return f"""state = {State.RUNNING}, attempts = d.attempts + (l.state = {State.PENDING})::int,
        claim_token = {token}, lease_expires_at = {now} + {lease} * INTERVAL '1 second',
        hints = 0, look_at = NULL, flags = d.flags & {_KEPT} | {flags}, worker = %s"""


def _free(now: str, *, state: str) -> str:
    return f"l.state = {state} AND l.due_at <= {now} AND l.look_at IS NOT NULL"


# Both lock rows by id in a materialized CTE, and check state and time outside it (see the planner
# trap in `look`). SKIP LOCKED: whoever holds the row will have changed it.


def one_sql(connection: BaseDatabaseWrapper) -> str:
    """The claim of one row; `claimed_of` reads what it answers, if anything."""
    now = now_sql(connection)
    taken = _taken_by(now, token="%s", lease="%s", flags="%s")  # noqa: S106  # no password
    return f"""
    WITH l AS MATERIALIZED (
        SELECT id, state, due_at, look_at FROM {_DELIVERY} WHERE id = %s FOR UPDATE SKIP LOCKED
    )
    UPDATE {_DELIVERY} d SET {taken} FROM l
    WHERE d.id = l.id AND {_free(now, state="%s")}
    RETURNING {_ROW}, {now}"""


def one_parameters(w: Wanted) -> list[Any]:
    return [w.id, w.token, w.lease.total_seconds(), w.flags, worker_name(), int(w.state)]


def _take_postgresql(
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
    return [
        claimed_of(connection, w, rows[w.id][:_WIDTH], rows[w.id][_WIDTH:])
        for w in wanted
        if w.id in rows
    ]


_WIDTH = 9  # of what is told of a delivery, before its event


def claimed_of(
    connection: BaseDatabaseWrapper, w: Wanted, row: Sequence[Any], event: Sequence[Any] | None
) -> Claimed:
    """What was wanted, and is ours, of the rows that one of the claims above answered."""
    pk, token, queue, key, generation, attempts, flags, notes, now = row
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
        notes=_notes(_from_json(notes, None, connection)) or {},
        event=_event(connection, event) if event and event[0] is not None else None,
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


def _take_portable(using: str, wanted: Sequence[Wanted]) -> list[Claimed]:
    alike: dict[tuple[State, int, timedelta, int], list[int]] = {}
    for w in wanted:
        alike.setdefault((w.state, w.token, w.lease, w.flags), []).append(w.id)
    rows = Delivery.objects.using(using)
    with transaction.atomic(using=using):
        for (state, token, lease, flags), ids in alike.items():
            rows.filter(
                pk__in=unlocked(rows, ids), state=state, due_at__lte=DbNow(), look_at__isnull=False
            ).update(
                attempts=F("attempts") + int(state == State.PENDING),
                claim_token=token,
                lease_expires_at=DbNow() + lease,
                hints=0,
                look_at=None,
                worker=worker_name(),
                flags=F("flags").bitand(_KEPT).bitor(flags),
                state=State.RUNNING,
            )
        return _held(using, wanted)


def unlocked(rows: DeliveryQuerySet, ids: list[int]) -> list[int]:
    """Those of *ids* that nobody has locked: who holds one will have changed it, or is a person."""
    if not connections[rows.db].features.has_select_for_update_skip_locked:
        return ids  # SQLite has one lock, and it is ours
    locked = rows.filter(pk__in=ids).select_for_update(skip_locked=True).order_by("pk")
    return list(locked.values_list("pk", flat=True))


def _held(using: str, wanted: Sequence[Wanted]) -> list[Claimed]:
    """Which of *wanted* carry the token that we wrote."""
    tokens = {w.id: w for w in wanted}
    rows = Delivery.objects.using(using).filter(pk__in=list(tokens)).annotate(now=DbNow())
    mine = {row.pk: row for row in rows if row.claim_token == tokens[row.pk].token}
    events = OutboxEvent.objects.using(using).in_bulk([row.event_id for row in mine.values()])
    return [
        Claimed(
            using=using,
            id=row.pk,
            token=w.token,
            effect=w.effect,
            queue=row.queue,
            key=row.key,
            generation=row.generation,
            attempt=row.attempts,
            flags=row.flags,
            notes=_notes(row.notes) or {},
            event=events.get(row.event_id),
            claimed_at=in_utc(row.now),  # type: ignore[attr-defined]  # annotated above
            due_at=w.due_at,
        )
        for w in wanted
        if (row := mine.get(w.id)) is not None
    ]


def _notes(value: Any) -> dict[str, Any] | None:
    """What is in no shape that we write, somebody else wrote: as good as nothing."""
    return value if isinstance(value, dict) else None
