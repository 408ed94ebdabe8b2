"""The rows that effects are about, from the writer, as they are now."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from django.apps import apps
from django.db.models import Model, QuerySet

from ..effects.effect import Effect
from .claimed import Claimed
from .models import OutboxEvent
from .reconnect import mend
from .row_reader import reader_of

logger = logging.getLogger("reliable_effects")

MISSING = object()
"""The subject was looked for, and is gone."""


def load_subject(claimed: Claimed, event: OutboxEvent) -> Any:
    return subject_of(claimed.effect, event, claimed.using)


def subject_of(effect: Effect[Any, Any], event: OutboxEvent, using: str) -> Any:
    """The subject's row, or MISSING; None for an event about no row."""
    if not event.subject_model:
        return None
    model = effect.event.model or apps.get_model(event.subject_model)
    reader = reader_of(model, using)
    if reader is not None and reader.can_read(event.subject_pk):
        found = reader.read(event.subject_pk)
    else:
        found = _rows(model, using).filter(pk=event.subject_pk).first()
    return MISSING if found is None else found


def load_subjects(using: str, held: Sequence[Claimed]) -> None:
    """Give each of a group its subject, one query a model. A row that is gone is MISSING."""
    by_model: dict[type[Any], list[Claimed]] = {}
    for claimed in held:
        model = claimed.effect.event.model
        if claimed.event is not None and claimed.event.subject_model and model is not None:
            by_model.setdefault(model, []).append(claimed)
    for model, members in by_model.items():
        try:
            pks = [model._meta.pk.to_python(c.event.subject_pk) for c in members if c.event]
            found = _rows(model, using).in_bulk(pks)
            given: set[Any] = set()
            for claimed, pk in zip(members, pks, strict=True):
                # What one effect does to its object in memory must be no fact for the next.
                claimed.subject = deepcopy(found[pk]) if pk in given else found.get(pk, MISSING)
                given |= {pk} & found.keys()
        except Exception:  # each run will meet it again, and by itself
            logger.warning("could not load %s for a group", model._meta.label, exc_info=True)
            mend(using)


def _rows(model: type[Model], using: str) -> QuerySet[Any]:
    # A project's own managers may hide rows (soft deletion), and the debt is owed all the same.
    return model._base_manager.using(using)
