"""
Search by what people have at hand: a subject, its primary key, a delivery's id, a key, an event.

Each is a look-up in an index. Nothing is matched in part: that would read the whole table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from uuid import UUID

from django.apps import apps
from django.db.models import Q, QuerySet

from ..effects.labels import labels_of
from ..effects.registry import registry
from .models import OutboxEvent

HELP = "A subject (shop.Order:42, or 42 alone), the id of a delivery or an event, or a key."
_SUBJECT = re.compile(r"(?P<model>\w+\.\w+)\s*[:# ]\s*(?P<pk>\S.*)")
_EVENTS = 1000  # of one subject; a subject with more is searched by event or id
_BIGGEST_ID = 2**63 - 1


def deliveries(term: str, events: QuerySet[OutboxEvent]) -> Q:
    """Which deliveries *term* means; *events* are those that may be looked through."""
    term = term.strip()
    key = as_uuid(term)
    if key is not None:
        return Q(key=key) | Q(event_id=key)
    of_subject = events.filter(about(term)).order_by("-pk").values_list("pk", flat=True)
    found = Q(event_id__in=list(of_subject[:_EVENTS]))
    number = term.removeprefix("#")
    if (pk := as_id(number)) is not None:
        found |= Q(pk=pk)
    return found


def as_id(text: str) -> int | None:
    """The delivery id that *text* is, when it can be one."""
    if not (text.isascii() and text.isdecimal() and len(text) < 20):  # noqa: PLR2004  # digits
        return None
    return int(text) if int(text) <= _BIGGEST_ID else None


def events(term: str) -> Q:
    key = as_uuid(term.strip())
    return Q(pk=key) if key is not None else about(term.strip())


def about(term: str) -> Q:
    """Events about the subject; the index begins with the model, so each known one is named."""
    named = _SUBJECT.fullmatch(term)
    if named is not None:
        return Q(subject_model__in=_labels(named["model"].lower()), subject_pk=named["pk"])
    return Q(subject_model__in=sorted(set(_models())), subject_pk=term)


def _labels(label: str) -> list[str]:
    """*label*, and what the model was called before that has it now."""
    try:
        return labels_of(apps.get_model(label))
    except (LookupError, ValueError):
        return [label]  # renamed or gone; the events outlive it


def _models() -> Iterator[str]:
    """Every model that events of this release are about, by all the labels it has had."""
    declared = [*registry.events(), *(effect.event for effect in registry.effects())]
    for event in declared:
        yield event.subject_label
        yield from event.subject_aliases


def as_uuid(term: str) -> UUID | None:
    try:
        return UUID(term) if len(term) >= 32 else None  # noqa: PLR2004  # hex digits
    except ValueError:
        return None
