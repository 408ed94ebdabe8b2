"""
What is kept about one person in idempotency records, blanked where that person asks to be forgotten.

A record holds hashes, and for a day or so the answer, which may say anything about whoever asked.
It is found by the user behind the request. The answer goes, and the link to the person with it; the
key stays, so that a repeated request is not carried out again: it is told `result-expired`.
"""

from __future__ import annotations

from django.db import transaction

from ..outbox import forget
from ..outbox.forget import Share
from .digests import of_user
from .models import IdempotencyRecord
from .states import RecordState
from .sweeps import BLANK

_BATCH = 200  # rows in one transaction


def register() -> None:
    """Let `forget` know of our table."""
    forget.also("idempotency records", blank)


def blank(using: str, label: str, pk: str, *, even_pending: bool, dry_run: bool) -> Share:  # noqa: ARG001  # nothing of a request in progress can be given up
    """In batches, and twice is once. A request in progress is left: its answer is yet to come."""
    records = IdempotencyRecord.objects.using(using).filter(principal=of_user(label, pk))
    pks = list(records.order_by().values_list("pk", flat=True))
    share = Share()
    for start in range(0, len(pks), _BATCH):
        with transaction.atomic(using=using):
            rows = IdempotencyRecord.objects.using(using).filter(pk__in=pks[start : start + _BATCH])
            locked = dict(rows.select_for_update().order_by("pk").values_list("pk", "state"))
            left = [pk for pk, state in locked.items() if state == RecordState.IN_PROGRESS]
            share.left += len(left)
            share.blanked += len(locked) - len(left)
            if not dry_run:
                ended = [pk for pk in locked if pk not in left]
                rows.filter(pk__in=ended).update(**BLANK, principal="")
    return share
