"""Insert deliveries where nothing stands under their key, and leave alone what does."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db import connections

from .models import Delivery


def insert_where_free(using: str, made: Iterable[Delivery]) -> None:
    """Who wants to know which of *made* were written looks for their events under their keys."""
    rows = Delivery.objects.using(using)
    if connections[using].vendor != "mysql":
        rows.bulk_create(sorted(made, key=lambda row: row.key), ignore_conflicts=True)
        return
    # InnoDB locks what stands, and the gap before it. Two calls that promise the same debts wait
    # for each other instead of deadlocking only where both go up the index, and where the lock is
    # exclusive at once: that of INSERT IGNORE is shared at first.
    ordered = sorted(made, key=lambda row: _place(row.key))
    rows.bulk_create(ordered, update_conflicts=True, update_fields=["key"])


def _place(key: UUID) -> bytes:
    """Where MariaDB's uuid columns keep *key*: last group first."""
    b = key.bytes
    return b[10:] + b[8:10] + b[6:8] + b[4:6] + b[:4]
