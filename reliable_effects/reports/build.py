"""
One build, as its effect runs it: the row that names the blob, the blob, and then the pointer.

In: a claimed delivery about a report. Out: a version that is served from here on. Whenever it dies,
the pointer stands on a whole blob: the old one until the commit, the new one after it.
"""

from __future__ import annotations

import io
import logging
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.db import Error, transaction

from ..clock import DbNow, read_clock
from ..effects.context import EffectContext
from ..effects.outcomes import Poison, Skip
from ..exceptions import BadPayload, LeaseLost
from ..outbox.models import Delivery
from ..outbox.run_context import Run, current_run
from .formats import File, zipped
from .models import Report, ReportVersion, VersionState
from .stores import CHUNK, Stored, store

if TYPE_CHECKING:
    from .definition import ReportDefinition

logger = logging.getLogger("reliable_effects")

_PULSE = 5.0  # seconds between two heartbeats, and between two notes of how far it is


def build(definition: ReportDefinition, row: Report, ctx: EffectContext[Any]) -> None:
    """
    Build *row* as its parameters say, and have it served.

    Raises:
        Skip: another build was asked for since; a person redrove this one late.
        Poison: its parameters are none of the report's any more.
        LeaseLost: the delivery is somebody else's; what was built is not served.
    """
    number = ctx.payload["number"]
    run = current_run()
    if run is None:
        raise RuntimeError("A report is built by its delivery; ask for it with report.row().")
    if row.current_number == number:
        return  # it was published, and then its completion was lost
    if row.asked > number:
        raise Skip(f"build {row.asked} was asked for since")
    try:
        arguments = definition.parameters.restored(row.parameters)
    except BadPayload as error:
        raise Poison(str(error)) from error
    version = _begin(definition, row, number, run)
    pulse = _Pulse(ctx, version, min(_PULSE, definition.effect.timeout.total_seconds() / 4))
    try:
        stored = store().put(
            version.key,
            pulse.watching(_chunks(definition, arguments, pulse)),
            content_type=definition.content_type,
        )
        publish(version, stored, rows=pulse.rows, keep=definition.keep, run=run)
    except BaseException:  # a timeout too: the sweep need not wait until it is surely over
        with suppress(Error):
            _of(version).filter(state=VersionState.BUILDING).update(
                state=VersionState.DOOMED, doomed_at=DbNow()
            )
        raise
    logger.info("built %s number=%d rows=%d size=%d", row, number, pulse.rows, stored.size)


def publish(version: ReportVersion, stored: Stored, *, rows: int, keep: int, run: Run) -> None:
    """
    Serve *version* from now on, and doom what is more than *keep*: one transaction.

    Raises:
        LeaseLost: the claim is over, or the sweep took this build for an orphan.
    """
    with transaction.atomic(using=run.using):
        # Locked until the commit, so that nobody takes the claim in between.
        claims = Delivery.objects.using(run.using).filter(pk=run.delivery_id, claim_token=run.token)
        held = claims.select_for_update().values_list("pk", flat=True).first() is not None
        ready = held and _of(version).filter(state=VersionState.BUILDING).update(
            state=VersionState.READY,
            rows=rows,
            size=stored.size,
            sha256=stored.sha256,
            etag=stored.etag[:100],
            finished_at=DbNow(),
        )
        if not ready:
            raise LeaseLost(run.delivery_id)
        reports = Report.objects.using(run.using).filter(pk=version.report_id)
        reports.filter(current_number__lt=version.number).update(
            current=version, current_number=version.number
        )
        _doom_beyond(keep, version.report_id, run.using)


def _doom_beyond(keep: int, report_id: int, using: str) -> None:
    versions = ReportVersion.objects.using(using).filter(
        report_id=report_id, state=VersionState.READY
    )
    newest = list(versions.order_by("-number", "-pk").values_list("pk", flat=True))
    served = Report.objects.using(using).filter(pk=report_id).values_list("current_id", flat=True)
    too_many = set(newest[keep:]) - set(served)
    if too_many:
        versions.filter(pk__in=too_many).update(state=VersionState.DOOMED, doomed_at=DbNow())


def _begin(definition: ReportDefinition, row: Report, number: int, run: Run) -> ReportVersion:
    """The row that names the blob comes first: whatever a crash leaves is found by it."""
    now = read_clock(run.using)
    stamp = now.strftime("%Y%m%dt%H%M%S.%fz")
    folder = f"{definition.name[:64].lower()}/{row.identity[:2]}/{row.identity}"
    return ReportVersion.objects.using(run.using).create(
        report=row,
        number=number,
        key=f"{folder}/{stamp}-{uuid4().hex}.{definition.extension}",
        content_type=definition.content_type,
        extension=definition.extension,
        delivery_id=run.delivery_id,
        started_at=now,
    )


def _chunks(
    definition: ReportDefinition, arguments: dict[str, Any], pulse: _Pulse
) -> Iterable[bytes]:
    if isinstance(definition.format, File):
        chunks = _written(definition, arguments, pulse)
    else:
        chunks = definition.format.encode(pulse.counting(definition.function(**arguments)))
    return zipped(chunks) if definition.gzip else chunks


def _written(
    definition: ReportDefinition, arguments: dict[str, Any], pulse: _Pulse
) -> Iterator[bytes]:
    """By way of this host's disk: what writes a file may seek in it."""
    with tempfile.TemporaryFile(buffering=0) as kept:
        # By another descriptor: whoever writes may close it.
        with _Beating(io.FileIO(os.dup(kept.fileno()), "rb+"), pulse) as file:
            definition.function(file, **arguments)
        kept.seek(0)
        while chunk := kept.read(CHUNK):
            yield chunk


class _Beating(io.BufferedRandom):
    """A file whose writes are signs of life."""

    def __init__(self, raw: io.FileIO, pulse: _Pulse) -> None:
        super().__init__(raw)
        self._pulse = pulse

    def write(self, data: Any, /) -> int:
        written = super().write(data)
        self._pulse.size += written
        self._pulse.beat()
        return written


@dataclass(slots=True)
class _Pulse:
    """Signs of life: lease and timeout begun anew, and how far it is, every few seconds."""

    ctx: EffectContext[Any]
    version: ReportVersion
    pause: float
    rows: int = 0
    size: int = 0
    _last: float = 0.0

    def __post_init__(self) -> None:
        self._last = time.monotonic()

    def beat(self) -> None:
        if time.monotonic() - self._last < self.pause:
            return
        self.ctx.heartbeat()
        _of(self.version).update(rows=self.rows, size=self.size)
        self._last = time.monotonic()

    def counting(self, rows: Iterable[Any]) -> Iterator[Any]:
        for row in rows:
            self.rows += 1
            self.beat()
            yield row

    def watching(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        self.size = 0
        for chunk in chunks:
            self.size += len(chunk)
            self.beat()
            yield chunk


def _of(version: ReportVersion) -> Any:
    return ReportVersion.objects.using(version._state.db).filter(pk=version.pk)
