"""Models of the project that are jobs: the event they name, and the index that the sweep reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, register

from ..schedule.tables import TypedTable, typed_models
from ..schedule.typed import AbstractScheduledJob
from .catalogue import TAG, found
from .project import readable_settings


@register(TAG)
def check_jobs(**_: Any) -> list[CheckMessage]:
    if readable_settings() is None:
        return []
    return [message for model in typed_models() for message in _problems(model)]


def _problems(model: type[AbstractScheduledJob]) -> Iterator[CheckMessage]:
    label = model._meta.label
    if TypedTable(model).event() is None:
        yield found(
            "E073",
            f"{label}.emits is {getattr(model, 'emits', None)!r}, and no event of that name is"
            f" about {label}, so its rows would wait for ever.",
            f'Event("{model._meta.app_label}.…", subject="{label}") in an events module',
            obj=model,
        )
    if model.when_done not in ("mark", "delete"):
        yield found(
            "E074",
            f"{label}.when_done is {model.when_done!r}; nothing is done so.",
            'when_done = "mark", or "delete"',
            obj=model,
        )
    if not any(list(index.fields[:2]) == ["state", "at"] for index in model._meta.indexes):
        yield found(
            "W075",
            f"{label} has no index of state and at, so each tick reads the whole table.",
            "class Meta(AbstractScheduledJob.Meta): …",
            obj=model,
        )
