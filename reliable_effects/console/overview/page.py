"""What the overview shows to one request, and whether it shows anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.http import HttpRequest

from ...conf import settings
from . import section
from .section import Section
from .tiles import Tile, tiles

_APP = "reliable_effects"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One database's section, and its headline."""

    section: Section
    tiles: list[Tile]
    number: int  # for ids, since aliases may be anything


def is_for(request: HttpRequest) -> bool:
    """Who may see deliveries sees how they stand."""
    return _may(request)("view_delivery")


def overview(request: HttpRequest) -> list[Shown]:
    """A section for each database; one that cannot be read says so, and hinders no other."""
    may = _may(request)
    site = getattr(request, "current_app", "") or ""  # the name of the admin site at hand
    sections = [section.read(alias, may) for alias in settings().databases]
    return [
        Shown(section=each, tiles=[] if each.problem else tiles(each, site, may), number=number)
        for number, each in enumerate(sections, start=1)
    ]


def _may(request: HttpRequest) -> Callable[[str], bool]:
    user = getattr(request, "user", None)
    return lambda codename: user is not None and user.has_perm(f"{_APP}.{codename}")
