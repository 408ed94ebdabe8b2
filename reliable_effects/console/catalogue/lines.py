"""The lines of the table of effects: every declared one, and what is paused and declared nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...effects.effect import Effect
from ...effects.event import Event
from ...effects.registry import registry
from .standing import Pause, Standing


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One effect; `effect` is None for one that this release does not know."""

    name: str
    effect: Effect[Any, Any] | None
    paused: Sequence[tuple[str, Pause]]  # by database
    waiting: int
    waiting_cut_short: bool
    runs: int
    failures: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    title: str
    note: str = ""
    lines: list[Line] = field(default_factory=list)


def line_of(name: str, standings: Sequence[Standing]) -> Line:
    """*name* is what this release calls it."""
    return Line(
        name=name,
        effect=registry.find_effect(name),
        paused=[(each.using, each.pauses[name]) for each in standings if name in each.pauses],
        waiting=sum(each.waiting[name] for each in standings),
        waiting_cut_short=any(name in each.cut_short for each in standings),
        runs=sum(each.runs[name] for each in standings),
        failures=sum(each.failures[name] for each in standings),
    )


def by_app(standings: Sequence[Standing], term: str) -> list[Group]:
    """Those whose names, or event's, have *term* in them, by the app that their names begin with."""
    groups = _strangers(standings, term)
    apps: dict[str, Group] = {}
    for effect in sorted(registry.effects(), key=lambda effect: effect.name):
        if _is_meant(term, _names(effect)):
            app = effect.name.rpartition(".")[0] or "(no app)"
            group = apps.setdefault(app, Group(title=app))
            group.lines.append(line_of(effect.name, standings))
    return groups + sorted(apps.values(), key=lambda group: group.title)


def by_event(standings: Sequence[Standing], term: str) -> list[Group]:
    """The same, beneath the event that each listens to; events that nothing listens to as well."""
    groups = _strangers(standings, term)
    for event in sorted(registry.events(), key=lambda event: event.name):
        effects = sorted(registry.on(event), key=lambda effect: effect.name)
        meant = [effect for effect in effects if _is_meant(term, _names(effect))]
        if meant or _is_meant(term, (event.name, *event.aliases)):
            lines = [line_of(effect.name, standings) for effect in meant]
            groups.append(Group(title=event.name, note=_about(event, len(effects)), lines=lines))
    promised = [
        line_of(effect.name, standings)
        for effect in sorted(registry.effects(), key=lambda effect: effect.name)
        if effect.on is None and _is_meant(term, _names(effect))
    ]
    if promised:
        groups.append(Group(title="Promised one by one", note="no event", lines=promised))
    return groups


def _strangers(standings: Sequence[Standing], term: str) -> list[Group]:
    paused = {name for each in standings for name in each.pauses}
    unknown = sorted(name for name in paused if registry.find_effect(name) is None)
    lines = [line_of(name, standings) for name in unknown if _is_meant(term, (name,))]
    note = "another release declares them, or none any more"
    return [Group(title="Paused, and unknown here", note=note, lines=lines)] if lines else []


def _about(event: Event[Any, Any], listening: int) -> str:
    subject = f"about {event.subject}" if event.subject else "about no row"
    heard = "nothing listens to it" if not listening else f"{listening} listening"
    return f"{subject}, version {event.version}, {heard}"


def _names(effect: Effect[Any, Any]) -> Iterable[str]:
    on = () if effect.on is None else (effect.on.name, *effect.on.aliases)
    return (effect.name, *effect.aliases, *on)


def _is_meant(term: str, names: Iterable[str]) -> bool:
    wanted = term.strip().casefold()
    return not wanted or any(wanted in name.casefold() for name in names)
