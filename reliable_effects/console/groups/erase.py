"""Where a pill is forgotten or deleted, nothing of its text stays in its group's sample."""

from __future__ import annotations

from collections.abc import Collection

from django.db import transaction

from ...outbox import forget, prune
from ...outbox.forget import MARK_TEXT, Share
from ...outbox.models import Delivery
from .models import FailureGroup

_BATCH = 500  # deliveries in one statement


def register() -> None:
    """Let prune and forget know of our table."""
    prune.also(drop)
    forget.also("samples of failures", blank)


def drop(using: str, delivery_ids: Collection[int]) -> None:
    """
    The sweep chooses another sample, where the group has pills.

    Raises:
        OperationalError: somebody holds a group of them. A sweep waits for nobody, and a pill is not
            deleted without the copy of its text.
    """
    of_them = FailureGroup.objects.using(using).filter(sample_delivery_id__in=delivery_ids)
    groups = list(of_them.select_for_update(nowait=True).values_list("pk", flat=True))
    of_them.filter(pk__in=groups).update(sample_delivery_id=None, sample_message="")


def blank(using: str, label: str, pk: str, *, even_pending: bool, dry_run: bool) -> Share:  # noqa: ARG001  # a sample is needed by nobody
    """In batches, and twice is once. A group that somebody holds is left, and told."""
    about = Delivery.objects.using(using).filter(event__subject_model=label, event__subject_pk=pk)
    ids = list(about.order_by().values_list("pk", flat=True))
    share = Share()
    for start in range(0, len(ids), _BATCH):
        batch = ids[start : start + _BATCH]
        of_them = FailureGroup.objects.using(using).filter(sample_delivery_id__in=batch)
        telling = of_them.exclude(sample_message__in=("", MARK_TEXT))
        if dry_run:
            share.blanked += telling.count()
            continue
        with transaction.atomic(using=using):
            free = telling.select_for_update(skip_locked=True).values_list("pk", flat=True)
            groups = list(free)
            share.left += telling.exclude(pk__in=groups).count()
            share.blanked += len(groups)
            of_them.filter(pk__in=groups).update(sample_delivery_id=None, sample_message="")
    return share
