"""Where a figure leads: a list of the admin site at hand, or nowhere where that has no such page."""

from __future__ import annotations

from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse


def changelist(site: str, *models: str, **filters: str) -> str:
    """The list of the first of *models* that *site* has; "" where it has none."""
    for model in models:
        try:
            name = f"admin:reliable_effects_{model}_changelist"
            address = reverse(name, current_app=site)
        except NoReverseMatch:
            continue
        return f"{address}?{urlencode(filters)}" if filters else address
    return ""
