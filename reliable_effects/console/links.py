"""Where a figure or a name leads on the admin site at hand; nowhere where that has no such page."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from django.db.models import Model
from django.urls import NoReverseMatch, reverse


def changelist(model: type[Model], site: str, filters: Mapping[str, str] | None = None) -> str:
    """The list of *model* on the admin site named *site*, filtered; "" where it has none."""
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
    try:
        address = reverse(name, current_app=site)
    except NoReverseMatch:
        return ""
    return f"{address}?{urlencode(filters)}" if filters else address


def effect_page(what: str, name: str, site: str) -> str:
    """
    A page of the effect *name*: "effect", "pause" or "resume".

    "" where the site has none, and for a name that no address can have, as one with a line break.
    """
    try:
        return reverse(
            f"admin:reliable_effects_effectcontrol_{what}", args=[name], current_app=site
        )
    except NoReverseMatch:
        return ""
