"""Where a figure leads: a list of the admin site at hand, or nowhere where that has no such page."""

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
