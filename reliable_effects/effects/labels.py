"""What rows call a model and a subject: labels, those that it had before, and a key as text."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Model

from ..exceptions import BadSubject
from .event import Event
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


def names_of_subject(subject: Model) -> list[tuple[str, str]]:
    """
    Each (model, primary key) under which rows may be about *subject*, a saved instance.

    Those that emit would write for it: of its own model, of what that inherits from, and of
    proxies of these, by all the labels that they have had.
    """
    found = dict.fromkeys([(subject._meta.label_lower, str(subject.pk))])
    for event in _declared():
        model = event.known_model
        if model is None or not isinstance(subject, model._meta.concrete_model or model):
            continue
        try:
            pk = event.pk_text(subject)
        except BadSubject:
            continue  # no event can be about it
        found |= dict.fromkeys(
            (label, pk) for label in (event.subject_label, *event.subject_aliases)
        )
    return list(found)


def _declared() -> Iterator[Event[object, object]]:
    yield from registry.events()
    for effect in registry.effects():
        yield effect.own_event
