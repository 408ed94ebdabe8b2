"""
A pointer whose blob is gone, or damaged: serve the last good one, and have it built again.

A restored database names what was deleted since; a bucket's rule deletes more than was meant. Whoever
streams finds out at once. Who is sent to a signed address meets the store's error page instead, so
the sweep looks, too: at each served blob once in a while, at few in one turn.
"""

from __future__ import annotations

import logging
from time import monotonic

from django.db import transaction
from django.db.models import Exists, OuterRef

from ..clock import DbNow
from ..conf import settings
from ..outbox import outage
from ..outbox.heartbeat import Swept
from .asking import ask
from .definition import definition
from .models import Report, ReportVersion, VersionState, seen_now
from .stores import store

logger = logging.getLogger("reliable_effects")

_BATCH = 200  # rows of one statement
# Of one turn. Where more are missing, it is the store that is another than yesterday: mending that
# by thousands of builds would keep the queue from all else.
_MOST_LOST = 3


def give_up(row: Report, version: ReportVersion) -> None:
    """Serve *version* no more; the newest other one that is whole, as far as we know, takes its place."""
    using = row._state.db
    versions = ReportVersion.objects.using(using).filter(state=VersionState.READY)
    with transaction.atomic(using=using):
        others = versions.filter(report_id=row.pk).exclude(pk=version.pk)
        before = others.order_by("-number", "-pk").first()
        number = before.number if before is not None else version.number - 1
        served = Report.objects.using(using).filter(pk=row.pk, current=version)
        if served.update(current=before, current_number=number):
            logger.error("the blob of %s #%d is lost: %s", row, version.number, version.key)
        versions.filter(pk=version.pk).update(state=VersionState.DOOMED, doomed_at=DbNow())


def look(using: str, until: float, swept: Swept) -> None:
    """Ask the store for blobs that are served and were not asked for lately, the longest first."""
    ready = ReportVersion.objects.using(using).filter(state=VersionState.READY)
    served = Report.objects.filter(current=OuterRef("pk"))
    old = ready.filter(Exists(served), looked_at__lt=DbNow() - settings().report_look)
    lost = 0
    for version in list(old.order_by("looked_at")[:_BATCH]):
        if monotonic() > until or lost == _MOST_LOST:
            swept.truncated = True
            return
        swept.seen += 1
        ready.filter(pk=version.pk).update(looked_at=DbNow())  # to the end of the line
        try:
            is_there = store().exists(version.key)
        except Exception as error:  # noqa: BLE001  # a store may raise what it likes
            outage.tell(f"could not look for the blob {version.key}; it stays served", error)
            continue
        if not is_there:
            lost += 1
            swept.done += _mend(using, version)


def _mend(using: str, version: ReportVersion) -> bool:
    """Whether a build was asked for."""
    rows = seen_now(using).filter(pk=version.report_id)
    give_up(rows.get(), version)
    row = rows.get()
    known = definition(row.name)
    return known is not None and ask(known, row)
