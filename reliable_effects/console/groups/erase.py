"""Where a pill is forgotten or deleted, nothing of its text stays in its group's sample."""

from __future__ import annotations

from collections.abc import Collection

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
    """The sweep chooses another sample, where the group has pills."""
    of_them = FailureGroup.objects.using(using).filter(sample_delivery_id__in=delivery_ids)
    of_them.update(sample_delivery_id=None, sample_message="")


def blank(using: str, label: str, pk: str, *, even_pending: bool, dry_run: bool) -> Share:  # noqa: ARG001  # a sample is needed by nobody
    """In batches, and twice is once."""
    about = Delivery.objects.using(using).filter(event__subject_model=label, event__subject_pk=pk)
    ids = list(about.order_by().values_list("pk", flat=True))
    share = Share()
    for start in range(0, len(ids), _BATCH):
        batch = ids[start : start + _BATCH]
        telling = FailureGroup.objects.using(using).filter(sample_delivery_id__in=batch)
        share.blanked += telling.exclude(sample_message__in=("", MARK_TEXT)).count()
        if not dry_run:
            drop(using, batch)
    return share
