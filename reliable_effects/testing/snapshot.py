"""The rows of a project, to compare what two runs have left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.db import connections, router
from django.db.models import AutoField, Field, Model

from ..outbox.models import OutboxEvent
from ..schedule.models import ScheduledJob

Row = dict[str, str | None]  # reprs, by column
Tables = dict[str, list[Row]]
Pks = dict[tuple[str, type[Model]], set[Any]]
Columns = set[tuple[str, str]]

_NEW = "<new>"
# Our own tables by what of them is the project's business.
_OURS: dict[str, tuple[type[Model], tuple[str, ...]]] = {
    "emitted events": (OutboxEvent, ("name", "subject_model", "subject_pk", "payload")),
    "scheduled jobs": (
        ScheduledJob,
        ("event", "subject_model", "subject_pk", "payload", "key", "state"),
    ),
}
_ROWS_SHOWN = 3


def primary_keys(databases: Sequence[str]) -> Pks:
    """Which rows there are, so that later ones can be told from them."""
    models = [(using, model) for using in databases for model, _ in _OURS.values()]
    return {
        (using, model): set(model._base_manager.using(using).values_list("pk", flat=True))
        for using, model in [*models, *_models(databases)]
    }


def tables(databases: Sequence[str], before: Pks) -> Tables:
    """
    All rows of the project's models, and the events emitted and jobs scheduled since *before*.

    Numbers that the database gave to new rows are left out: they say nothing.
    """
    found: Tables = {}
    for using, model in _models(databases):
        fields = model._meta.concrete_fields
        rows = model._base_manager.using(using).values_list(*(field.attname for field in fields))
        found[_label(model._meta.label, using, databases)] = [
            {
                field.attname: _NEW if _is_new(field, value, using, before) else _text(value)
                for field, value in zip(fields, row, strict=True)
            }
            for row in rows
        ]
    for using in databases:
        for label, (model, columns) in _OURS.items():
            new = model._base_manager.using(using).exclude(pk__in=before[using, model])
            found[_label(label, using, databases)] = [
                {name: _text(value) for name, value in row.items()} for row in new.values(*columns)
            ]
    return found


def straying(one: Tables, other: Tables) -> Columns:
    """Columns that differ between two runs from one start: clocks, random tokens."""
    return {
        (label, column)
        for label, rows in one.items()
        if len(rows) == len(other[label])
        for column in (rows[0] if rows else ())
        if Counter(row[column] for row in rows) != Counter(row[column] for row in other[label])
    }


def differences(expected: Tables, found: Tables, strays: Columns) -> list[str]:
    """What *found* has too many and too few; of *strays* only whether they are NULL counts."""
    lines = []
    for label, rows in expected.items():
        want = Counter(_comparable(label, row, strays) for row in rows)
        have = Counter(_comparable(label, row, strays) for row in found[label])
        lines += _told(label, "too many", have - want) + _told(label, "missing", want - have)
    return lines


def _told(label: str, what: str, rows: Counter[tuple[tuple[str, str | None], ...]]) -> list[str]:
    each = list(rows.elements())
    lines = [
        f"{label}, {what}: " + ", ".join(f"{column}={value}" for column, value in row)
        for row in each[:_ROWS_SHOWN]
    ]
    more = len(each) - _ROWS_SHOWN
    return lines + ([f"{label}, {what}: and {more} more"] if more > 0 else [])


def _comparable(label: str, row: Row, strays: Columns) -> tuple[tuple[str, str | None], ...]:
    return tuple(
        (column, "<any>" if value is not None and (label, column) in strays else value)
        for column, value in row.items()
    )


def _models(databases: Sequence[str]) -> Iterator[tuple[str, type[Model]]]:
    for using in databases:
        for config in apps.get_app_configs():
            if config.label == OutboxEvent._meta.app_label:
                continue
            for model in router.get_migratable_models(config, using, include_auto_created=True):
                if model._meta.can_migrate(connections[using]):
                    yield using, model


def _is_new(field: Field[Any, Any], value: Any, using: str, before: Pks) -> bool:
    target = field
    while target.remote_field is not None:
        target = target.target_field  # type: ignore[attr-defined]  # a foreign key has one
    if not isinstance(target, AutoField):
        return False
    known = before.get((using, target.model))
    return value is not None and known is not None and value not in known


def _label(name: str, using: str, databases: Sequence[str]) -> str:
    return name if len(databases) == 1 else f"{name} on {using}"


def _text(value: Any) -> str | None:
    if isinstance(value, memoryview):
        value = bytes(value)  # PostgreSQL's binary columns; their repr would be an address
    return None if value is None else repr(value)
