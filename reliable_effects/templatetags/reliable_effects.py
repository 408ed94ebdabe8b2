"""`{% load reliable_effects %}{% effects_of order %}`: how it goes, on a page for customers."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from django import template
from django.db.models import Model

from ..console.telling import told_of

register = template.Library()


@register.inclusion_tag("reliable_effects/effects_of.html")
def effects_of(
    subject: Any, only: str | Collection[str] = (), labels: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """
    A list of what *subject* has set off, and how each stands; nothing where there is none.

    Whoever sees the page sees it: ask before whether the row is theirs. `only` are names of effects,
    in a list or separated by commas; `labels` a dict of what each is called here.
    """
    if not isinstance(subject, Model):
        return {"lines": []}  # a variable that is not there, as elsewhere in templates
    names = re.findall(r"[^\s,]+", only) if isinstance(only, str) else only
    return {"lines": told_of(subject, only=names, labels=labels)}
