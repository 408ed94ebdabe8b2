"""
One message to PostgreSQL: complete one delivery, claim the next with its event, read its subject.

Several statements in one simple query are one round trip (PostgreSQL, "Message Flow"). The updates
are committed in the middle of it: neither waits for the project's own table nor is undone by it, and
what is read afterwards is as fresh as if it had been asked for by itself. Elsewhere the same takes
four round trips. ADR 0024 has the figures.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from .claim import claim, retake
from .claim_postgresql import claimed_of, one_parameters, one_sql
from .claimed import Claimed, Seen, Wanted
from .finish import told
from .passing import may_pass
from .persist import UNBEGUN, surely
from .row_reader import RowReader, reader_of
from .subjects import MISSING
from .succeed import complete_or_done, complete_sql, succeed

T = TypeVar("T")


def claim_one(row: Seen) -> Claimed | None:
    """Take *row* where it is still free; with its subject, where that costs no round trip."""
    if not _is_possible(connections[row.using]):
        return next(iter(claim([row])), None)
    wanted = Wanted.of(row)

    def again() -> Claimed | None:
        return next(iter(retake(row.using, [wanted])), None)

    def take() -> Claimed | None:
        return _in_one_trip(None, row, wanted)[1]

    return _carefully(row.using, take, again, patience=UNBEGUN)


def succeed_and_claim(done: Claimed, row: Seen) -> tuple[bool, Claimed | None]:
    """Complete *done* and take *row*; each half stands by itself."""
    if not _is_possible(connections[done.using]):
        return succeed(done), next(iter(claim([row])), None)
    wanted = Wanted.of(row)

    def ask() -> tuple[bool, Claimed | None]:
        return complete_or_done(done), next(iter(retake(done.using, [wanted])), None)

    won, taken = _carefully(done.using, lambda: _in_one_trip(done, row, wanted), ask)
    return told(done, won), taken


def _is_possible(connection: BaseDatabaseWrapper) -> bool:
    """psycopg 3 that puts parameters in itself, Django's default: no other takes several statements."""
    return (
        connection.vendor == "postgresql"
        and connection.Database.__name__ == "psycopg"  # type: ignore[attr-defined]  # of the back end
        and not connection.features.uses_server_side_binding  # type: ignore[attr-defined]
    )


def _carefully(
    using: str, send: Callable[[], T], ask: Callable[[], T], *, patience: float | None = None
) -> T:
    """*send*, and where nobody knows what became of it *ask*."""
    try:
        return surely(using, send, after_doubt=ask, patience=patience)
    except Error as error:
        if may_pass(error):
            raise
        # The project's table was at fault, after the commit. Whoever runs it will meet that again.
        return ask()


def _in_one_trip(done: Claimed | None, row: Seen, wanted: Wanted) -> tuple[bool, Claimed | None]:
    connection = connections[row.using]
    updates = [(one_sql(connection), one_parameters(wanted))]
    if done is not None:
        updates.insert(0, (f"{complete_sql(connection)} RETURNING d.id", [done.id, done.token]))
    reads = []
    reader = _reader_of(wanted, row.using)
    if reader is not None and reader.by_event is not None:
        reads.append((reader.by_event.sql, reader.by_event.with_value(row.event_id)))
    answers = _sent(connection, updates, reads)
    won = done is not None and bool(answers[0])
    taken, subject = answers[len(updates) - 1], answers[len(updates) :]
    if not taken:
        return won, None
    claimed = claimed_of(connection, wanted, taken[0])
    if reader is not None and subject and claimed.event and claimed.event.subject_model:
        found = reader.made_of(subject[0])
        claimed.subject = MISSING if found is None else found
    return won, claimed


def _reader_of(wanted: Wanted, using: str) -> RowReader | None:
    model = wanted.effect.event.model
    return None if model is None else reader_of(model, using)


_Statement = tuple[str, list[Any]]


def _sent(
    connection: BaseDatabaseWrapper, updates: list[_Statement], reads: list[_Statement]
) -> list[Any]:
    """The rows that each of them answered."""
    if connection.in_atomic_block:  # of a test case
        with transaction.atomic(using=connection.alias):
            return _executed(connection, [*updates, *reads])
    try:
        return _executed(connection, [_BEGIN, *updates, _COMMIT, *reads])
    except Error:
        with suppress(Error):
            connection.rollback()  # what failed before the COMMIT leaves it open
        raise


_BEGIN: _Statement = ("BEGIN", [])
_COMMIT: _Statement = ("COMMIT", [])


def _executed(connection: BaseDatabaseWrapper, statements: list[_Statement]) -> list[Any]:
    answers = []
    with connection.cursor() as cursor:
        cursor.execute(
            ";\n".join(sql for sql, _ in statements),
            [one for _, parameters in statements for one in parameters],
        )
        for statement in statements:
            if statement is not _BEGIN and statement is not _COMMIT:
                answers.append(cursor.fetchall())
            cursor.nextset()
    return answers
