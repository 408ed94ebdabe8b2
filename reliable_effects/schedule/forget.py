"""
Delete jobs that ended: ours when they are old, a project's own where its class says "delete".

A typed row is what effects are about, so it stays until every delivery about it has ended well; one
that is set aside keeps it, to be redriven with. Missed jobs are deleted by people only. A row that
the project does not let go, by a protected foreign key or a receiver of its own, stays alone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from time import monotonic
from typing import Any

from django.db import transaction

from ..clock import DbNow
from ..conf import settings
from ..outbox.models import Delivery
from ..outbox.passing import may_pass
from ..outbox.states import ENDED_WELL
from .states import FORGETTABLE
from .tables import JobTable, TypedTable

logger = logging.getLogger("reliable_effects")

_BATCH = 500  # rows in one transaction

_left_off: dict[tuple[str, str], tuple[datetime, Any]] = {}


def forget_ended(using: str, table: JobTable, until: float = float("inf")) -> None:
    if isinstance(table, TypedTable):
        if table.model.when_done == "delete":
            _delete_typed(using, table, until)
        return
    old = table.rows(using).filter(
        state__in=FORGETTABLE, ended_at__lte=DbNow() - settings().retention
    )
    while monotonic() < until:
        with transaction.atomic(using=using):
            oldest = old.order_by("ended_at").select_for_update(skip_locked=True)
            pks = list(oldest.values_list("pk", flat=True)[:_BATCH])
            table.rows(using).filter(pk__in=pks).delete()
        if len(pks) < _BATCH:
            return


def _delete_typed(using: str, table: TypedTable, until: float) -> None:
    """In the order in which their time came, past those that are still needed."""
    done = table.rows(using).filter(state__in=FORGETTABLE).order_by("at", "pk")
    place = _left_off.pop((using, table.label), None)
    while monotonic() < until:
        following = done
        if place is not None:
            following = done.filter(at__gte=place[0]).exclude(at=place[0], pk__lte=place[1])
        with transaction.atomic(using=using):
            batch = list(following.select_for_update(skip_locked=True)[:_BATCH])
            needed = _needed(using, table, batch)
            free = [job.pk for job in batch if str(job.pk) not in needed]
            _delete(using, table, free)
        if len(batch) < _BATCH:
            return
        place = (batch[-1].at, batch[-1].pk)
    if place is not None:
        _left_off[using, table.label] = place


def _delete(using: str, table: TypedTable, pks: Sequence[Any]) -> None:
    """All at once; where that fails one by one, and what stays is told of in one line."""
    if not pks or _refusal(using, table, pks) is None:
        return
    refusals = {pk: error for pk in pks if (error := _refusal(using, table, [pk])) is not None}
    if refusals:
        first = next(iter(refusals))
        logger.warning("could not delete %d ended jobs of %s, as %s; the others go on: %r",
                       len(refusals), table.label, first, refusals[first])  # fmt: skip


def _refusal(using: str, table: TypedTable, pks: Sequence[Any]) -> Exception | None:
    """Why they cannot be deleted, as the project does it: with what hangs on them, and signals."""
    try:
        with transaction.atomic(using=using):
            table.rows(using).filter(pk__in=pks).delete()
    except Exception as error:
        if may_pass(error):
            raise
        return error
    return None


def _needed(using: str, table: TypedTable, jobs: Sequence[Any]) -> set[str]:
    """The primary keys of those of *jobs* that a delivery is still about."""
    event = table.event()
    labels = {table.model._meta.label_lower, *(event.subject_aliases if event else ())}
    deliveries = Delivery.objects.using(using).filter(
        event__subject_model__in=labels,
        event__subject_pk__in=[str(job.pk) for job in jobs],
    )
    unfinished = deliveries.exclude(state__in=ENDED_WELL)
    return set(unfinished.values_list("event__subject_pk", flat=True))


def forget() -> None:
    """For tests that empty the tables."""
    _left_off.clear()
