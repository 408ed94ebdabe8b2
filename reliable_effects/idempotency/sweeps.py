"""
What time does to records: answers are blanked, keys forgotten, and what nobody ended is given up.

A view that calls other systems and did not come back leaves its key uncertain, which is told; age
never deletes such a record.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any

from django.db import Error, transaction
from django.db.models import F

from ..clock import DbNow, in_utc, read_clock
from ..conf import settings
from ..outbox import outage
from ..outbox.heartbeat import Swept, Turn
from ..outbox.reconnect import mend
from ..outbox.sweeps import add
from .claim import leave_uncertain
from .models import IdempotencyRecord
from .states import RecordState

IDEMPOTENCY = "idempotency"

BLANK: dict[str, Any] = {"body": None, "headers": [], "body_expires_at": None}
"""What is left of an answer when it is not kept any more: its status, and that it was given."""

_BATCH = 500  # rows in one transaction
_BOUND = 2.0  # seconds; the relay waits for it in the same thread


def register() -> None:
    """Let the sweeps' timer know of ours."""
    add(IDEMPOTENCY, lambda: settings().idempotency_prune_period, age)


def age(using: str, _turn: Turn | None = None) -> Swept:
    """One sweep over everything whose `look_at` has passed, what has waited longest in front."""
    swept = Swept()
    until = monotonic() + _BOUND
    after = None
    while True:
        rows = IdempotencyRecord.objects.using(using).filter(look_at__lte=DbNow())
        if after is not None:  # past what could not be changed
            rows = rows.filter(look_at__gte=after)
        batch = list(rows.order_by("look_at").values_list("pk", "look_at")[:_BATCH])
        done = _age_batch(using, [pk for pk, _ in batch])
        swept.seen += len(batch)
        swept.done += done
        if len(batch) < _BATCH:
            return swept
        if monotonic() > until or done == 0:
            swept.truncated = True
            return swept
        after = batch[-1][1]


def _age_batch(using: str, pks: Sequence[int]) -> int:
    if not pks:
        return 0
    try:
        with transaction.atomic(using=using):
            return _aged(using, pks)
    except Error as error:
        mend(using)
        if len(pks) > 1:  # one of them cannot be changed: the others can
            return sum(_age_batch(using, [pk]) for pk in pks)
        outage.tell(f"could not prune idempotency record {pks[0]}; the others go on", error)
        return 0


def _aged(using: str, pks: Sequence[int]) -> int:
    found = IdempotencyRecord.objects.using(using).filter(pk__in=pks)
    # Looked at again under the lock: a request may have taken one over since it was read.
    locked = found.filter(look_at__lte=DbNow()).select_for_update(skip_locked=True)
    rows = list(locked.defer("body", "headers").order_by("pk"))
    now = read_clock(using)
    gone: list[int] = []
    blank: list[int] = []
    for row in rows:
        match RecordState(row.state):
            case RecordState.IN_PROGRESS if row.foreign:
                leave_uncertain(using, row.pk, row.token, "its lease ended without an answer")
            case RecordState.DONE if in_utc(row.expires_at) > now:
                blank.append(row.pk)
            case RecordState.UNCERTAIN:
                found.filter(pk=row.pk).update(look_at=None)
            case _:
                gone.append(row.pk)
    found.filter(pk__in=blank).update(**BLANK, look_at=F("expires_at"))
    found.filter(pk__in=gone).delete()
    return len(rows)
