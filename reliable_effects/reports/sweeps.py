"""
What the clock does for reports: build them ahead of time, and delete what nobody needs.

A blob is deleted where its row says DOOMED for a while: the row first marked, then the blob, then
the row. No row of that state is ever served, and none that is served comes into it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import islice
from time import monotonic
from typing import Any

from django.db.models import Exists, OuterRef

from ..clock import DbNow
from ..conf import settings
from ..outbox import outage
from ..outbox.heartbeat import Swept, Turn
from ..outbox.reconnect import mend
from ..outbox.sweeps import add
from .asking import Standing, ask, last_build
from .definition import ReportDefinition, definitions
from .losing import look
from .models import (
    Report,
    ReportDownload,
    ReportVersion,
    VersionState,
    seen_now,
    where_reports_are,
)
from .stores import store

PREBUILD, TIDY = "reports_prebuild", "reports_tidy"

_BOUND = 2.0  # seconds of a sweep; the relay waits for it in the same thread
_BATCH = 200  # rows of one statement


def register() -> None:
    """Let the sweeps' timer know of ours."""
    add(PREBUILD, lambda: settings().report_period, prebuild)
    add(TIDY, lambda: settings().report_period, tidy)


def prebuild(using: str, _turn: Turn) -> Swept:
    """Ask for what `every=` says is due; one report's question that fails keeps no other back."""
    swept = Swept()
    until = monotonic() + _BOUND
    for definition in definitions() if using == where_reports_are() else ():
        if definition.every is None:
            continue
        try:
            _ask_for(definition, definition.every, using, until, swept)
        except Exception as error:  # noqa: BLE001  # prebuild= is the project's
            outage.tell(f"could not prebuild {definition.name}; the others go on", error)
            mend(using)
            swept.truncated = True
    return swept


def _ask_for(
    definition: ReportDefinition, every: timedelta, using: str, until: float, swept: Swept
) -> None:
    wanted = iter(definition.prebuild() if definition.prebuild is not None else ({},))
    while batch := list(islice(wanted, _BATCH)):
        for row in _rows(definition, batch, using):
            swept.seen += 1
            if _is_due(row, every) and ask(definition, row):
                swept.done += 1
        if monotonic() > until:
            swept.truncated |= next(wanted, None) is not None
            return


def _rows(
    definition: ReportDefinition, batch: list[Mapping[str, Any]], using: str
) -> Iterator[Report]:
    canonical = [definition.parameters.canonical(each) for each in batch]
    known = {definition.identity(each): each for each in canonical}
    found = {row.identity: row for row in seen_now(using).filter(identity__in=known)}
    for identity, parameters in known.items():
        yield found[identity] if identity in found else definition.row_of(parameters)


def _is_due(row: Report, every: timedelta) -> bool:
    if row.asked_at is None or row.read_at - row.asked_at >= every:
        return True
    # Given up, or lost with its delivery: again, when it has had its rest.
    return row.asked > row.current_number and last_build(row).standing is not Standing.BUILDING


def tidy(using: str, _turn: Turn) -> Swept:
    """Doom what a dead build left, delete what is doomed, miss what is gone, forget old downloads."""
    swept = Swept()
    if using != where_reports_are():
        return swept
    _doom_orphans(using, swept)
    _delete(using, monotonic() + _BOUND, swept)
    look(using, monotonic() + _BOUND, swept)
    old = ReportDownload.objects.using(using).filter(
        at__lt=DbNow() - settings().report_download_retention
    )
    ids = list(old.order_by("at").values_list("pk", flat=True)[:_BATCH])
    if ids:
        swept.done += ReportDownload.objects.using(using).filter(pk__in=ids).delete()[0]
    swept.truncated |= len(ids) == _BATCH
    return swept


def longest_build() -> timedelta:
    """Whatever has been building for longer is dead: no run of ours may take so long."""
    bounds = [each.longest + each.effect.lease for each in definitions()]
    return max(settings().report_orphan_after, *bounds, timedelta(0))


def _doom_orphans(using: str, swept: Swept) -> None:
    building = ReportVersion.objects.using(using).filter(state=VersionState.BUILDING)
    dead = building.filter(started_at__lt=DbNow() - longest_build())
    ids = list(dead.order_by("pk").values_list("pk", flat=True)[:_BATCH])
    if ids:
        swept.seen += len(ids)
        building.filter(pk__in=ids).update(state=VersionState.DOOMED, doomed_at=DbNow())
    swept.truncated |= len(ids) == _BATCH


def _delete(using: str, until: float, swept: Swept) -> None:
    doomed = ReportVersion.objects.using(using).filter(state=VersionState.DOOMED)
    # Belt and braces: the database would refuse it, too.
    served = Report.objects.filter(current=OuterRef("pk"))
    ripe = doomed.filter(~Exists(served), doomed_at__lt=DbNow() - settings().report_grace)
    for pk, key in list(ripe.order_by("doomed_at").values_list("pk", "key")[:_BATCH]):
        if monotonic() > until:
            swept.truncated = True
            return
        swept.seen += 1
        try:
            store().delete(key)
        except Exception as error:  # noqa: BLE001  # a store may raise what it likes
            outage.tell(f"could not delete the blob {key}; the others go on", error)
            doomed.filter(pk=pk).update(doomed_at=DbNow())  # to the end of the line
            continue
        swept.done += doomed.filter(pk=pk).delete()[0]
