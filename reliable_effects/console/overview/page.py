"""What the overview shows to one request, and whether it shows anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.http import HttpRequest

from ...conf import settings
from ...outbox.models import Delivery
from ...watch.models import Alert
from ...watch.pauses import Paused
from ..links import changelist, effect_page
from . import section
from .history import Hour
from .section import Section
from .tiles import Tile, tiles

_APP = "reliable_effects"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One database's section, and its headline."""

    section: Section
    tiles: list[Tile]
    number: int  # for ids, since aliases may be anything
    alerts: list[tuple[Alert, str]]  # each with the address of what it is about, as the next two
    paused: list[tuple[Paused, str]]
    effects: list[tuple[Hour, str]]


def is_for(request: HttpRequest) -> bool:
    """Who may see deliveries sees how they stand."""
    return _may(request)("view_delivery")


def overview(request: HttpRequest) -> list[Shown]:
    """A section for each database; one that cannot be read says so, and hinders no other."""
    may = _may(request)
    site = getattr(request, "current_app", "") or ""  # the name of the admin site at hand
    return [
        _shown(section.read(alias, may), site, may, number)
        for number, alias in enumerate(settings().databases, start=1)
    ]


def _shown(each: Section, site: str, may: Callable[[str], bool], number: int) -> Shown:
    def of_effect(name: str) -> str:
        return (may("view_effectcontrol") and effect_page("effect", name, site)) or changelist(
            Delivery, site, {"effect": name}
        )

    def behind(alert: Alert) -> str:
        place = alert.place
        if place is None or not may(place.permission):
            return ""
        return changelist(place.model, site, place.filters)

    return Shown(
        section=each,
        tiles=[] if each.problem else tiles(each, site, may),
        number=number,
        alerts=[(alert, behind(alert)) for alert in each.alerts],
        paused=[(pause, of_effect(pause.effect)) for pause in each.paused],
        effects=[(hour, of_effect(hour.effect)) for hour in each.effects],
    )


def _may(request: HttpRequest) -> Callable[[str], bool]:
    user = getattr(request, "user", None)
    return lambda name: (
        user is not None and user.has_perm(name if "." in name else f"{_APP}.{name}")
    )
