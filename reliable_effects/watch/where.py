"""
Which list of the admin shows what an alert is about.

By the names of models, because some of them live on floors above; so a rule of a project, or of a
later release, may have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.utils.text import capfirst

_APP = "reliable_effects"


@dataclass(frozen=True, slots=True)
class Place:
    """A list, narrowed to what the alert is about."""

    model: type[Model]
    filters: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As it stands in the admin."""
        return str(capfirst(self.model._meta.verbose_name_plural))

    @property
    def permission(self) -> str:
        """Who sees the list."""
        meta: Any = self.model._meta
        return f"{meta.app_label}.view_{meta.model_name}"


# rule → model, and the filters of its list; "{}" is the alert's subject
_PLACES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "poisoned": ("FailureGroup", {"effect": "{}"}),
    "uncertain": ("Delivery", {"state": "uncertain", "effect": "{}"}),
    "failing": ("Delivery", {"state": "retrying", "effect": "{}"}),
    "late": ("Delivery", {"due": "late", "queue": "{}"}),
    "unconsumed": ("Delivery", {"due": "now", "queue": "{}"}),
    "paused": ("EffectControl", {"q": "{}"}),
    "redrive_halted": ("RedriveOperation", {}),
    "sweep": ("Sweep", {}),
    "sweep_cut_short": ("Sweep", {}),
    "sweep_silent": ("Sweep", {}),
    "owed_query": ("Walk", {}),
    "unaccounted": ("Walk", {}),
    "contradiction": ("Walk", {}),
    "walk": ("Walk", {}),
    "uncertain_request": ("IdempotencyRecord", {}),
    "conflicted": ("InboxMessage", {}),
}


def where(rule: str, subject: str) -> Place | None:
    """None for what no list shows: a database that cannot be read, a rule that could not be asked."""
    if rule == "jobs":  # its subject is the table, which may be a project's own
        try:
            return Place(apps.get_model(subject))
        except (LookupError, ValueError):
            return None
    if rule not in _PLACES:
        return None
    model, filters = _PLACES[rule]
    return Place(
        apps.get_model(_APP, model),
        {name: value.replace("{}", subject) for name, value in filters.items()},
    )
