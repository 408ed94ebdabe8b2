"""
Take a key before the view runs, in a transaction of its own, or say why not.

Whoever holds a `Claimed` may run the view until the lease ends; everything it writes about the key
says the token. The row is read first, then changed by one guarded UPDATE, or inserted where there
is none: the unique (key, scope) decides between two who do that at once. Each round begins by
reading, and a row with our own token is ours, so an answer that was lost on the way costs nothing.
A row that somebody holds is not waited for: who froze before a COMMIT would hold up all others.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ..clock import DbNow, in_utc
from ..outbox.claimed import new_token
from ..outbox.persist import surely
from . import problems
from .digests import is_request, of_key, of_request
from .held import update_unless_held
from .identity import Identity
from .models import IdempotencyRecord
from .options import Idempotency
from .problems import Problem
from .states import RecordState

logger = logging.getLogger("reliable_effects")

PATIENCE = 2.0  # seconds in which a database that was away may come back: a client waits meanwhile

_ROUNDS = 10  # each lost to somebody who was quicker; then the key is busy, and that is the answer


@dataclass(frozen=True, slots=True)
class Request:
    """What is known of a request before its key is looked up."""

    using: str
    identity: Identity
    keys: Sequence[str]  # HMACs: under today's secret, then under older ones
    material: str  # of the fingerprint
    options: Idempotency


@dataclass(frozen=True, slots=True)
class Claimed:
    """The key is ours."""

    using: str
    id: int
    token: int
    key: str  # its HMAC, for log lines
    principal: str
    options: Idempotency


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer of the first request."""

    status: int
    headers: Sequence[Sequence[str]]
    body: bytes | None
    omitted: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """No answer: *problem* says why, and *retry_after*, in seconds, when to ask again."""

    problem: Problem
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Unsure:
    """Nobody knows how the first request ended."""

    id: int
    token: int
    is_forgotten: bool  # whoever asked then has been forgotten since: no answer of theirs is kept


Answer = Claimed | Kept | Refused | Unsure


def ask(using: str, identity: Identity, key: str, material: str, options: Idempotency) -> Request:
    return Request(using, identity, of_key(key), material, options)


def claim(request: Request, *, admit: Callable[[], None] = lambda: None) -> Answer:
    """
    The key, or what to answer instead. *admit* is called once before anything but a kept answer.

    What *admit* raises is passed on; nothing was written by then.

    Raises:
        DatabaseError, InterfaceError: the records cannot be read or written. The view must not run.
    """
    token = new_token()
    is_admitted = False
    stood: list[_Standing] = []
    for _ in range(_ROUNDS):
        rows = surely(request.using, lambda: _rows(request), patience=PATIENCE)
        answer = _answer(request, rows, token)
        if isinstance(answer, Kept | Claimed):
            return answer
        if not is_admitted:
            admit()
            is_admitted = True
        if isinstance(answer, Refused | Unsure):
            return answer
        stands = [(row.pk, row.token, row.state) for row in rows]
        if rows and stands == stood:
            break  # what we wrote changed nothing, nor did anybody else: somebody holds the row
        stood = stands
        # Written at most once by us, since both are fenced; read again, since we may not know.
        surely(request.using, answer, after_doubt=lambda: None, patience=PATIENCE)
    return Refused(problems.CONFLICT, 1)


_Write = Callable[[], object]
_Standing = tuple[int, int, int]  # id, token and state of a row


def _answer(request: Request, rows: Sequence[IdempotencyRecord], token: int) -> Answer | _Write:
    """What *rows* say, or what to write before they are read again."""
    mine = next((row for row in rows if row.token == token), None)
    standing = [row for row in rows if row is not mine and not _is_free(row)]
    if mine is not None and standing:
        # Under two secrets the unique key does not decide. Whoever sees another gives way.
        return _given_up(request.using, mine)
    if mine is not None:
        if mine.state == RecordState.IN_PROGRESS:
            return Claimed(request.using, mine.pk, token, mine.key, mine.principal, request.options)
        return Refused(problems.CONFLICT, 1)  # settled by somebody, after a long pause of ours
    if standing:
        return _of_another(request, standing[0], token)
    return _taken_over(request, rows[0], token) if rows else _inserted(request, token)


def _of_another(request: Request, row: IdempotencyRecord, token: int) -> Answer | _Write:
    # Before the state: what became of another request says nothing about this one.
    if not is_request(request.material, row.fingerprint):
        return Refused(problems.FINGERPRINT_MISMATCH)
    left = in_utc(row.lease_expires_at) - _now(row)
    match RecordState(row.state):
        case RecordState.DONE:
            return _kept(row)
        case RecordState.UNCERTAIN:
            return Unsure(row.pk, row.token, row.principal != request.identity.principal)
        case _ if left > timedelta(0):
            return Refused(problems.CONFLICT, math.ceil(left.total_seconds()))
        case _ if row.foreign:
            why = "its lease ended without an answer"
            return lambda: leave_uncertain(request.using, row.pk, row.token, why)
        case _:
            return _taken_over(request, row, token)


def _kept(row: IdempotencyRecord) -> Kept | Refused:
    kept_until = row.body_expires_at
    if row.status is None or kept_until is None or in_utc(kept_until) <= _now(row):
        return Refused(problems.RESULT_EXPIRED)
    body = None if row.body is None else bytes(row.body)
    return Kept(row.status, row.headers, body, row.omitted)


def _is_free(row: IdempotencyRecord) -> bool:
    if row.state == RecordState.RELEASED:
        return True
    return row.state == RecordState.DONE and in_utc(row.expires_at) <= _now(row)


def _now(row: Any) -> datetime:
    """The database's clock, when it read *row*."""
    return in_utc(row.now)


# Statements


def _rows(request: Request) -> list[IdempotencyRecord]:
    found = IdempotencyRecord.objects.using(request.using).filter(
        key__in=request.keys, scope=request.identity.scope
    )
    return list(found.annotate(now=DbNow()).order_by("pk"))


def _inserted(request: Request, token: int) -> _Write:
    record = IdempotencyRecord(
        scope=request.identity.scope, key=request.keys[0], **_columns(request, token)
    )
    rows = IdempotencyRecord.objects.using(request.using)
    return lambda: rows.bulk_create([record], ignore_conflicts=True)


def _taken_over(request: Request, row: IdempotencyRecord, token: int) -> _Write:
    seen = IdempotencyRecord.objects.using(request.using).filter(
        pk=row.pk, token=row.token, state=row.state
    )
    columns = _columns(request, token)
    if row.state == RecordState.IN_PROGRESS:
        logger.warning("idempotency record %d: its lease ended, another request takes it over",
                       row.pk)  # fmt: skip
    return lambda: update_unless_held(
        seen,
        **columns,
        created_at=DbNow(), finished_at=None, status=None, headers=[], body=None, omitted=False,
        body_expires_at=None, reason="",
    )  # fmt: skip


def _given_up(using: str, row: IdempotencyRecord) -> _Write:
    mine = IdempotencyRecord.objects.using(using).filter(pk=row.pk, token=row.token)
    return mine.delete


def _columns(request: Request, token: int) -> dict[str, Any]:
    options = request.options
    lease = DbNow() + options.lease_span
    key_ends = DbNow() + (options.lease_span + options.key_span)
    return {
        "fingerprint": of_request(request.material),
        "principal": request.identity.principal,
        "operation": request.identity.operation,
        "state": RecordState.IN_PROGRESS,
        "token": token,
        "foreign": options.foreign,
        "lease_expires_at": lease,
        "expires_at": key_ends,
        # Nothing is to be done about one that was left behind, but where nobody knows its outcome.
        "look_at": lease if options.foreign else key_ends,
    }


def leave_uncertain(using: str, pk: int, token: int, reason: str) -> bool:
    """Until a person, `resolve=` or the first request itself says how it ended; whether it is so now."""
    mine = IdempotencyRecord.objects.using(using).filter(
        pk=pk, token=token, state=RecordState.IN_PROGRESS
    )
    # The token stays: the first request may still come to its end, and knows.
    columns = {"state": RecordState.UNCERTAIN, "look_at": None, "reason": reason[:200]}
    won = update_unless_held(mine, **columns) == 1
    if won:
        logger.error("idempotency record %d is uncertain: %s", pk, reason)
    return won
