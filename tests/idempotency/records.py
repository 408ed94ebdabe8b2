"""Rows of idempotency keys, each as the code would have left it."""

from __future__ import annotations

import itertools
from datetime import timedelta

from reliable_effects.clock import DbNow
from reliable_effects.idempotency.digests import of_key, of_parts
from reliable_effects.idempotency.models import IdempotencyRecord
from reliable_effects.idempotency.states import RecordState

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SECRET_ANSWER = b"card 4242 of Ada"

_numbers = itertools.count(1)


def a_record(key: str = "key-1", *, ago: timedelta = HOUR, **columns) -> IdempotencyRecord:
    columns = {
        "scope": of_parts(str(next(_numbers))),
        "key": of_key(key)[0],
        "fingerprint": of_parts("request"),
        "operation": "POST /orders/",
        "state": RecordState.DONE,
        "token": 1,
        "status": 201,
        "body": SECRET_ANSWER,
        "lease_expires_at": DbNow(),
        "created_at": DbNow() - ago,
        "expires_at": DbNow() + DAY,
        "body_expires_at": DbNow() + DAY,
        **columns,
    }
    return IdempotencyRecord.objects.get(pk=IdempotencyRecord.objects.create(**columns).pk)


def an_uncertain_record(key: str = "key-1", **columns) -> IdempotencyRecord:
    columns = {"status": None, "body": None, "body_expires_at": None, **columns}
    return a_record(key, state=RecordState.UNCERTAIN, reason="lease over", **columns)
