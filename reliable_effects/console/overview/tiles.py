"""The headline: one figure each, what it means in a word, and the list behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from ...clock import spoken
from ...conf import settings
from ...controls.models import EffectControl
from ...outbox.models import Delivery, Sweep
from ...watch.models import Alert
from ..groups.models import FailureGroup
from ..links import changelist
from .history import Levels
from .section import Section

UNKNOWN = "?"

Verdict = Literal["", "well", "look", "act"]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """`verdict` is for the tint; `words` says the same, for who sees none."""

    label: str
    figure: str
    words: str
    verdict: Verdict = ""
    address: str = ""  # of the list behind it; "" where there is none


def tiles(section: Section, site: str, may: Callable[[str], bool]) -> list[Tile]:
    """Of a database that could be read; those that the reader *may* see."""
    found = [*_standing(section.levels, site, may), *_going(section, site)]
    if may("view_sweep"):
        found.append(_sweeps(section, site))
    if may("view_alert"):
        found.append(_alerts(section, site))
    found.append(_paused(section, site, may))
    return found


def _standing(levels: Levels | None, site: str, may: Callable[[str], bool]) -> Iterator[Tile]:
    due = changelist(Delivery, site, {"due": "now"})
    groups = changelist(FailureGroup, site) if may("view_failuregroup") else ""
    poisoned = groups or changelist(Delivery, site, {"state": "poisoned"})
    uncertain = changelist(Delivery, site, {"state": "uncertain"})
    if levels is None:
        for label, address in (
            ("Backlog", due),
            ("Oldest due", due),
            ("Poison pills", poisoned),
            ("Uncertain", uncertain),
        ):
            yield Tile(label=label, figure=UNKNOWN, words="not seen yet", address=address)
        return
    running = levels.total("running")
    yield Tile(
        label="Backlog", figure=levels.total("due"), words=f"due now, {running} running",
        address=due,
    )  # fmt: skip
    age = levels.oldest_due
    is_late = age is not None and age > settings().alert_late_after
    yield Tile(
        label="Oldest due",
        figure=spoken(age) if age is not None else "none",
        words="nothing waits" if age is None else "late" if is_late else "in time",
        verdict="act" if is_late else "well",
        address=changelist(Delivery, site, {"due": "late"}) if is_late else due,
    )
    yield _of_people("Poison pills", "poisoned", levels, poisoned)
    yield _of_people("Uncertain", "uncertain", levels, uncertain)


def _of_people(label: str, column: str, levels: Levels, address: str) -> Tile:
    waits = levels.is_any(column)
    return Tile(
        label=label,
        figure=levels.total(column),
        words="a person must look" if waits else "nothing to do",
        verdict="act" if waits else "well",
        address=address,
    )


def _going(section: Section, site: str) -> Iterator[Tile]:
    succeeded = changelist(Delivery, site, {"state": "succeeded"})
    retrying = changelist(Delivery, site, {"state": "retrying"})
    rates = section.rates
    if rates is None:
        for label, address in (("Throughput", succeeded), ("Failure rate", retrying)):
            yield Tile(label=label, figure=UNKNOWN, words="not counted yet", address=address)
        return
    minutes = max(1, round((rates.end - rates.begin).total_seconds() / 60))
    lately = f"in {minutes} min"
    yield Tile(
        label="Throughput",
        figure=f"{rates.per_minute:,.1f}".removesuffix(".0"),
        words=f"succeeded a minute, {rates.succeeded:,} {lately}",
        address=succeeded,
    )
    percent = rates.failed_percent
    yield Tile(
        label="Failure rate",
        figure=f"{percent:.1f}".removesuffix(".0") + " %",
        words=f"{rates.failed:,} of {rates.attempts:,} attempts {lately}",
        # The alert `failing` compares with what is usual; this only says that it is not nothing.
        verdict="look" if percent >= settings().alert_failure_percent else "",
        address=retrying,
    )


def _sweeps(section: Section, site: str) -> Tile:
    behind = [sweep.name for sweep in section.sweeps if sweep.is_stale or sweep.is_cut_short_again]
    return Tile(
        label="Sweeps",
        figure=f"{len(section.sweeps) - len(behind)} of {len(section.sweeps)}",
        words=f"not in time: {', '.join(behind)}" if behind else "all ran in time",
        verdict="act" if behind else "well",
        address=changelist(Sweep, site),
    )


def _alerts(section: Section, site: str) -> Tile:
    lasting = len(section.alerts)
    return Tile(
        label="Alerts",
        figure=section.alert_count,
        words="still last" if lasting > 1 else "still lasts" if lasting else "nothing lasts",
        verdict="act" if lasting else "well",
        address=changelist(Alert, site, {"state": "lasts"}),
    )


def _paused(section: Section, site: str, may: Callable[[str], bool]) -> Tile:
    paused = len(section.paused)
    return Tile(
        label="Paused",
        figure=str(paused),
        words="effects" if paused > 1 else "effect" if paused else "nothing is paused",
        verdict="look" if paused else "well",
        address=changelist(EffectControl, site) if may("view_effectcontrol") else "",
    )
