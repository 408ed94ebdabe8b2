"""
What is kept about one subject in scheduled jobs, blanked where a person asks to be forgotten.

What has ended is blanked. A job that still waits needs its payload, so it is left and told;
`even_pending` cancels it first. Keys stay: they are what code finds a job by.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from ..effects.payloads import BLANKED
from ..outbox import forget
from ..outbox.forget import MARK, Share
from .jobs import ENDED
from .models import ScheduledJob
from .states import OPEN, JobState

_BATCH = 200  # rows in one transaction


def register() -> None:
    """Let `forget` know of our table."""
    forget.also("scheduled jobs", blank)


def blank(using: str, label: str, pk: str, *, even_pending: bool, dry_run: bool) -> Share:
    """In batches, and twice is once."""
    jobs = ScheduledJob.objects.using(using).filter(subject_model=label, subject_pk=pk)
    ids = list(jobs.order_by().values_list("pk", flat=True))
    share = Share()
    for start in range(0, len(ids), _BATCH):
        _blank(using, ids[start : start + _BATCH], share, even_pending, dry_run)
    return share


def _blank(
    using: str, ids: Sequence[UUID], share: Share, even_pending: bool, dry_run: bool
) -> None:
    with transaction.atomic(using=using):
        rows = ScheduledJob.objects.using(using).filter(pk__in=ids)
        locked = dict(rows.select_for_update().order_by("pk").values_list("pk", "state"))
        waiting = [pk for pk, state in locked.items() if state in OPEN]
        if even_pending and not dry_run:
            rows.filter(pk__in=waiting).update(**ENDED, state=JobState.CANCELLED)
        left = [] if even_pending else waiting
        share.left += len(left)
        telling = rows.exclude(pk__in=left).filter(version__gt=BLANKED)
        if dry_run:
            share.blanked += telling.count()
        else:
            share.blanked += telling.update(payload=MARK, version=BLANKED)
