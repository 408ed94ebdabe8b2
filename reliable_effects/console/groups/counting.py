"""How many pills a group has now: counted in the index, some groups in each turn, changed ones first."""

from __future__ import annotations

import logging
from time import monotonic

from django.db import Error, transaction
from django.db.models import F

from ...clock import DbNow
from ...outbox.models import Delivery, DeliveryQuerySet
from ...outbox.reconnect import mend
from ...outbox.states import State
from .models import MOST_PILLS, FailureGroup
from .samples import message_of

logger = logging.getLogger("reliable_effects")

_BOUND = 1.0  # seconds a turn
_LIVE = 80  # groups a turn; a count of few pills is a look-up
_OVER = 20  # groups a turn: what another release poisoned may be theirs, and nobody added it


def pills_of(using: str, fingerprint: str) -> DeliveryQuerySet:
    return Delivery.objects.using(using).alike(fingerprint)


def count(using: str) -> None:
    """Count those of which it is the longest ago; one that the database refuses stops no other."""
    until = monotonic() + _BOUND
    rows = FailureGroup.objects.using(using).order_by(F("counted_at").asc(nulls_first=True), "pk")
    for group in [*rows.filter(pills__gt=0)[:_LIVE], *rows.filter(pills=0)[:_OVER]]:
        if monotonic() > until:
            return  # the others come first in the next turn
        try:
            _count(using, group)
        except Error:
            mend(using)
            logger.exception(
                "the pills of group %d could not be counted; the others go on", group.pk
            )


def _count(using: str, group: FailureGroup) -> None:
    pills = pills_of(using, group.fingerprint)
    found = pills.order_by().values("pk")[:MOST_PILLS].count()
    # What came in between is in `total` too: then this count is too old to be written.
    same = FailureGroup.objects.using(using).filter(pk=group.pk, total=group.total)
    with transaction.atomic(using=using):
        # Nobody is waited for: a person's remedy, or a sweep that was frozen, may hold it.
        if not same.select_for_update(skip_locked=True).values_list("pk", flat=True):
            return
        same.update(pills=found, counted_at=DbNow())
        sample = group.sample_delivery_id
        if found and (sample is None or not pills.filter(pk=sample).exists()):
            _choose_another_sample(using, group, pills)


def _choose_another_sample(using: str, group: FailureGroup, pills: DeliveryQuerySet) -> None:
    """Its sample was redriven, cancelled, forgotten or pruned, and others are there. It is locked."""
    newest = pills.order_by("-pk").values_list("pk", flat=True).first()
    if newest is None:
        return
    rows = Delivery.objects.using(using).filter(pk=newest)
    row = rows.select_for_update(skip_locked=True).first()
    if row is None or (row.state, row.fingerprint) != (State.POISONED, group.fingerprint):
        return
    FailureGroup.objects.using(using).filter(pk=group.pk).update(
        sample_delivery_id=row.pk, sample_message=message_of(using, row.pk, row.reason)
    )
