"""What rows call a model: its label, and those that it had before."""

from __future__ import annotations

from django.db.models import Model

from .registry import registry


def labels_of(model: type[Model]) -> list[str]:
    """The label of *model* as rows spell it, and the earlier ones that its events declare."""
    label = model._meta.label_lower
    aliases = {
        alias
        for event in registry.events()
        if event.subject_label == label
        for alias in event.subject_aliases
    }
    return [label, *sorted(aliases - {label})]
