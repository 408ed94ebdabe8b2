"""
One row of each of our models, with a text of the caller's in every column that takes one.

A new model needs nothing here unless its constraints or its choices say what goes together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.db import models
from django.utils import timezone

from reliable_effects.idempotency.states import RecordState
from reliable_effects.models import (
    Attempt,
    Delivery,
    IdempotencyRecord,
    OutboxEvent,
    ScheduledJob,
)
from reliable_effects.schedule.states import JobState
from tests.outbox.conftest import poisoned_delivery

TOGETHER: dict[type[models.Model], dict[str, Any]] = {
    ScheduledJob: {"state": JobState.WAITING, "key_held": uuid4(), "ended_at": None},
    IdempotencyRecord: {"state": RecordState.UNCERTAIN, "look_at": None},
}


def our_models() -> list[type[models.Model]]:
    return list(apps.get_app_config("reliable_effects").get_models())


def digest() -> dict[str, str]:
    """What our tables, and the log of the admin, hold now."""
    return {model._meta.label: _digest_of(model) for model in (*our_models(), LogEntry)}


def _digest_of(model: type[models.Model]) -> str:
    rows = model._base_manager.order_by("pk").values_list()
    return hashlib.sha256(repr(list(rows)).encode()).hexdigest()


def a_row(model: type[models.Model], text: str = "text") -> Any:
    """The row of *model* that the test has; made where there is none, with what it refers to."""
    found = model._base_manager.order_by("pk").first()
    if found is not None:
        return found
    if model in (Delivery, Attempt, OutboxEvent):
        _deliver(text)
        return model._base_manager.order_by("pk").first()
    values = dict(_values(model, text)) | TOGETHER.get(model, {})
    return model._base_manager.create(**values)


def _deliver(text: str) -> None:
    """A delivery that went wrong, and then whatever somebody has written into it."""
    row = poisoned_delivery(payload={"text": text})
    Attempt.objects.create(delivery=row, number=1, outcome=Attempt.Outcome.FAILED)
    for model in (Delivery, Attempt, OutboxEvent):
        model._base_manager.update(**dict(_texts(model, text)))


def _texts(model: type[models.Model], text: str) -> Iterator[tuple[str, Any]]:
    for field in model._meta.concrete_fields:
        if isinstance(field, models.JSONField):
            yield field.name, {"text": text, text: [text]}
        elif isinstance(field, models.CharField | models.TextField) and not field.choices:
            yield field.name, text[: field.max_length]


def _values(model: type[models.Model], text: str) -> Iterator[tuple[str, Any]]:
    texts = dict(_texts(model, text))
    for field in model._meta.concrete_fields:
        if field.name in texts:
            yield field.name, texts[field.name]
        elif isinstance(field, models.ForeignKey) and not field.null:
            yield field.name, a_row(field.related_model, text)
        elif not (field.null or field.has_default() or field.has_db_default() or _is_auto(field)):
            yield field.name, _some(field)


def _is_auto(field: models.Field) -> bool:
    return isinstance(field, models.AutoField)


def _some(field: models.Field) -> Any:
    if field.choices:
        return next(value for value, _ in field.flatchoices if value != "")
    made: list[tuple[type[models.Field], Callable[[], Any]]] = [
        (models.DateTimeField, lambda: timezone.now() + timedelta(days=1)),
        (models.DateField, lambda: timezone.now().date()),
        (models.DurationField, lambda: timedelta(minutes=1)),
        (models.UUIDField, uuid4),
        (models.BooleanField, lambda: False),
        (models.BinaryField, lambda: b"x"),
        (models.FloatField, lambda: 1.0),
        (models.IntegerField, lambda: 1),
    ]
    return next(make() for kind, make in made if isinstance(field, kind))
