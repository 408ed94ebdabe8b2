"""
The SELECT of one row of a project's model, compiled once for each model and database.

To build and compile it each time took a third of a worker's processor time (ADR 0024). Only where it
cannot differ from one time to the next: Django's own base manager, and a key that is a number, a text
or a UUID. All other models are asked through the ORM each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Expression
from django.db.models.functions import Cast, NullIf
from django.db.models.sql.compiler import SQLCompiler

from .models import OutboxEvent

_NUMBERS = (
    models.AutoField,
    models.BigAutoField,
    models.SmallAutoField,
    models.IntegerField,
    models.BigIntegerField,
    models.PositiveIntegerField,
    models.PositiveBigIntegerField,
)
_DIGITS = 18  # of a number that surely fits 64 bits


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with one value left open."""

    sql: str
    _parameters: tuple[Any, ...]

    def with_value(self, value: Any) -> list[Any]:
        return [value if one is _OPEN else one for one in self._parameters]


@dataclass(frozen=True, slots=True)
class RowReader:
    """How a row of *model* is asked for on *using*, and made into an object."""

    model: type[models.Model]
    using: str
    by_pk: Statement
    by_event: Statement | None  # PostgreSQL: by the id of the event that is about it
    _names: Sequence[str]
    _converters: Sequence[tuple[int, Sequence[Any], Any]]

    def read(self, pk: str) -> models.Model | None:
        """The row whose key is spelled *pk*. Raises what the key's field says of a bad spelling."""
        connection = connections[self.using]
        value = self.model._meta.pk.get_db_prep_value(pk, connection)
        with connection.cursor() as cursor:
            cursor.execute(self.by_pk.sql, self.by_pk.with_value(value))
            return self.made_of(cursor.fetchall())

    def can_read(self, pk: str) -> bool:
        return len(pk) <= _DIGITS or not isinstance(self.model._meta.pk, _NUMBERS)

    def made_of(self, rows: Sequence[Sequence[Any]]) -> models.Model | None:
        """The object of what either statement answered."""
        if not rows:
            return None
        values = list(rows[0])
        connection = connections[self.using]
        for place, converters, expression in self._converters:
            for convert in converters:
                values[place] = convert(values[place], expression, connection)
        return self.model.from_db(self.using, self._names, values)


_readers: dict[tuple[type[models.Model], str], RowReader | None] = {}


def reader_of(model: type[models.Model], using: str) -> RowReader | None:
    """None for a model that must be asked through the ORM."""
    key = (model, using)
    if key not in _readers:
        _readers[key] = _make(model, using) if _is_plain(model) else None
    return _readers[key]


def _is_plain(model: type[models.Model]) -> bool:
    # A base manager that the project has named may ask something else each time.
    is_djangos = type(model._base_manager) is models.Manager
    return is_djangos and type(model._meta.pk) in (*_NUMBERS, models.CharField, models.UUIDField)


def _make(model: type[models.Model], using: str) -> RowReader:
    connection = connections[using]
    rows = model._base_manager.using(using)
    key = model._meta.pk
    query = rows.filter(pk=_Open(output_field=key)).query
    compiler = query.get_compiler(using)
    by_pk = _compiled(compiler)
    columns = [column for column, _, _ in compiler.select or ()]
    return RowReader(
        model=model,
        using=using,
        by_pk=by_pk,
        by_event=_by_event(rows, key, connection),
        _names=[column.target.attname for column in columns],
        _converters=[
            (place, converters, expression)
            for place, (converters, expression) in compiler.get_converters(columns).items()
        ],
    )


def _by_event(
    rows: models.QuerySet[Any], key: models.Field[Any, Any], connection: BaseDatabaseWrapper
) -> Statement | None:
    if connection.vendor != "postgresql":
        return None  # it is asked together with a claim, and that is there alone
    event = OutboxEvent.objects.using(connection.alias).filter(pk=_Open(output_field=_UUID))
    about_none = models.Value("")  # what no number can be made of
    spelled = models.Subquery(event.values(spelled=NullIf("subject_pk", about_none))[:1])
    is_text = isinstance(key, models.CharField)
    # A cast to a text of so many characters would cut it.
    about = rows.filter(pk=spelled if is_text else Cast(spelled, output_field=type(key)()))
    return _compiled(about.query.get_compiler(connection.alias))


def _compiled(compiler: SQLCompiler) -> Statement:
    sql, parameters = compiler.as_sql()
    return Statement(sql, tuple(parameters))


_UUID = models.UUIDField()
_OPEN = object()


class _Open(Expression):
    """A value that is not known yet."""

    def as_sql(  # type: ignore[override]  # django-stubs know of strings and numbers only
        self,
        compiler: Any,  # noqa: ARG002  # Django's signature
        connection: BaseDatabaseWrapper,  # noqa: ARG002
    ) -> tuple[str, list[Any]]:
        return "%s", [_OPEN]
