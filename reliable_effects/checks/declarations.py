"""What the project declared: events, effects, owed queries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, register
from django.core.exceptions import FieldDoesNotExist
from django.db import DEFAULT_DB_ALIAS
from django.db.models import DateField

from ..effects.effect import Effect
from ..effects.event import Event
from ..effects.registry import registry
from .catalogue import TAG, found
from .project import readable_settings


@register(TAG)
def check_declarations(**_: Any) -> list[CheckMessage]:
    if readable_settings() is None:
        return []
    messages = [message for event in registry.events() for message in _subject("Event", event)]
    for effect in registry.effects():
        if effect.on is None:
            messages += _subject("Effect", effect.own_event)
        messages += _effect(effect)
    return messages


def _subject(kind: str, event: Event[Any, Any]) -> Iterator[CheckMessage]:
    try:
        _ = event.model
    except (LookupError, ValueError):
        yield found(
            "E071",
            f"{kind} {event.name!r}: its subject {event.subject!r} is no model of this project.",
            f'subject="app_label.Model"  # a renamed one: subject_aliases=[{event.subject!r}]',
        )


def _effect(effect: Effect[Any, Any]) -> Iterator[CheckMessage]:
    if effect.still_needed is not None and effect.event.subject is None:
        yield found(
            "W072",
            f"Effect {effect.name!r}: still_needed= is asked for a subject, and it has none.",
            'subject="app_label.Model", or raise Skip("…") inside the effect',
        )
    yield from _shape_of_the_query(effect)
    if effect.owed_query is not None and not _is_date(effect, effect.owed_query.since):
        yield found(
            "E070",
            f"Effect {effect.name!r}: since={effect.owed_query.since!r} is no date field of"
            f" {effect.event.subject}.",
            f'@{effect.function.__name__}.owed(since="created_at", …)',
        )


def _shape_of_the_query(effect: Effect[Any, Any]) -> Iterator[CheckMessage]:
    owed, model = effect.owed_query, effect.event.known_model
    if owed is None or model is None:
        return
    try:
        owed.rows(model, DEFAULT_DB_ALIAS)
    except TypeError as error:
        yield found("E076", str(error), f"return {model.__name__}.objects.filter(…)")
    except Exception:  # noqa: BLE001, S110  # it may want a request, or rows: a walk will tell
        pass


def _is_date(effect: Effect[Any, Any], since: str) -> bool:
    try:
        model = effect.event.model
        first, *further = since.split("__")
        field = model._meta.get_field(first) if model is not None else None
    except FieldDoesNotExist:
        return False
    except (LookupError, ValueError):
        return True  # E071 says it
    return bool(further) or isinstance(field, DateField)
