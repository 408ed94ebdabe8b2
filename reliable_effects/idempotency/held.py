"""
Change a record unless somebody holds it, and never wait for who does.

A process that froze between the completion of its key and COMMIT keeps the row locked. Whoever asks
for the key meanwhile is told that it is in progress, and does not hang with it.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction

from .models import IdempotencyRecord, IdempotencyRecordQuerySet


def update_unless_held(rows: IdempotencyRecordQuerySet, **columns: Any) -> int:
    """UPDATE *rows*, and how many; 0 where they are others by now, or somebody holds them."""
    using = rows.db
    with transaction.atomic(using=using):
        # On SQLite this locks nothing, and nothing is to be skipped: its writers come one by one.
        free = rows.select_for_update(skip_locked=True).order_by("pk").values_list("pk", flat=True)
        pks = list(free)
        found = IdempotencyRecord.objects.using(using).filter(pk__in=pks)
        return found.update(**columns) if pks else 0
