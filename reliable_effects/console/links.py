"""Addresses of the admin's lists."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from django.db.models import Model
from django.urls import NoReverseMatch, reverse


def address(model: type[Model], site: str, query: Mapping[str, str]) -> str | None:
    """Of the list of *model* on the admin site named *site*, filtered; None where it has none."""
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
    try:
        return f"{reverse(name, current_app=site)}?{urlencode(query)}"
    except NoReverseMatch:
        return None
