"""Say of an uncertain record how it ended: one guarded UPDATE each, by a person or by `resolve=`."""

from __future__ import annotations

from datetime import timedelta

from ..clock import DbNow
from ..outbox.claimed import new_token
from .answers import Storable
from .held import update_unless_held
from .models import IdempotencyRecord, IdempotencyRecordQuerySet
from .states import RecordState

REASON = 200  # characters, in a row


def done(
    using: str,
    pk: int,
    token: int,
    reason: str,
    *,
    key_span: timedelta,
    body_span: timedelta,
    answer: Storable | None = None,
) -> bool:
    """It happened: no request runs the view again. Without its *answer* that is all they are told."""
    kept = (
        {"status": None, "headers": [], "body": None, "omitted": False, "body_expires_at": None}
        if answer is None
        else {
            "status": answer.status,
            "headers": answer.headers,
            "body": answer.body,
            "omitted": answer.omitted,
            "body_expires_at": DbNow() + body_span,
        }
    )
    return _settled(
        _uncertain(using, pk, token),
        RecordState.DONE,
        reason,
        expires_at=DbNow() + key_span,
        look_at=DbNow() + (key_span if answer is None else body_span),
        **kept,
    )


def undone(using: str, pk: int, token: int, reason: str) -> bool:
    """It did not happen: the next request with the key runs the view."""
    # Not at once swept away: who looks for what became of it should find it.
    return _settled(
        _uncertain(using, pk, token),
        RecordState.RELEASED,
        reason,
        look_at=DbNow() + _SHOWN,
    )


def _settled(
    row: IdempotencyRecordQuerySet, state: RecordState, reason: str, **columns: object
) -> bool:
    # Another token: a first request that comes back after all must not overwrite this.
    # Held, it is not settled: the first request is right then saying how it ended.
    written = update_unless_held(
        row, state=state, token=new_token(), reason=reason[:REASON], finished_at=DbNow(), **columns
    )
    return written == 1


def _uncertain(using: str, pk: int, token: int) -> IdempotencyRecordQuerySet:
    rows = IdempotencyRecord.objects.using(using)
    return rows.filter(pk=pk, token=token, state=RecordState.UNCERTAIN)


_SHOWN = timedelta(days=1)
