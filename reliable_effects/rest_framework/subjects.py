"""
Which events are about rows that somebody may see: through the index of (subject, name).

Events name their subject as text, so the rows' primary keys are spelled as text in SQL, the way
`Event.pk_text` spells them in Python.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import (
    CharField,
    Expression,
    F,
    Field,
    Func,
    IntegerField,
    Model,
    QuerySet,
    UUIDField,
    Value,
)
from django.db.models.functions import Cast, Concat, Substr

from ..effects.labels import labels_of
from ..outbox.models import OutboxEvent

_TEXT = CharField(max_length=200)  # as the column that it is compared with
_FEW = 1000  # rows; as many literals as a statement should have
_DASHES = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))  # where a UUID has its parts, and how long


def about(events: QuerySet[OutboxEvent], owned: QuerySet[Any]) -> QuerySet[OutboxEvent]:
    """Those of *events* that are about a row of *owned*."""
    named = events.filter(subject_model__in=labels_of(owned.model))
    rows = owned.order_by()
    pks = rows.annotate(_as_text=_as_text(owned.model, owned.db)).values("_as_text")
    if connections[owned.db].vendor != "mysql":
        return named.filter(subject_pk__in=pks)
    # MariaDB does not begin with the rows of a subquery: it walks all events, newest first.
    few = list(rows.values_list("pk", flat=True)[: _FEW + 1])
    if len(few) <= _FEW:
        texts = [str(pk) for pk in few]
        named = named.filter(subject_pk__in=texts)  # by the index
        if not isinstance(_pk_field(owned.model), CharField):
            return named
        return named.alias(_exact=_Bytes("subject_pk")).filter(_exact__in=texts)
    if not isinstance(_pk_field(owned.model), CharField):
        return named.filter(subject_pk__in=pks)
    exact = rows.annotate(_exact=_Bytes(Cast(F("pk"), _TEXT))).values("_exact")
    return named.alias(_exact=_Bytes("subject_pk")).filter(_exact__in=exact)


class _Bytes(Func):
    """A text by its bytes: MariaDB takes "aB3" for "Ab3", which may be somebody else's."""

    template = "CAST(%(expressions)s AS BINARY)"
    output_field = _TEXT


def _as_text(model: type[Model], alias: str) -> Expression:
    pk: Any = F("pk")
    match _pk_field(model):
        case CharField():
            return Cast(pk, _TEXT)
        case IntegerField():
            return Cast(pk, _TEXT)
        case UUIDField():
            text = Cast(pk, _TEXT)
            if connections[alias].features.has_native_uuid_field:
                return text
            parts = [Substr(text, start, length) for start, length in _DASHES]
            dashed = [part for each in parts for part in (Value("-"), each)][1:]
            return Concat(*dashed, output_field=_TEXT)
        case other:
            raise ImproperlyConfigured(
                f"{model._meta.label} has a {type(other).__name__} as its primary key, which no list"
                " of events can be narrowed by; whole numbers, UUIDs and texts can."
            )


def _pk_field(model: type[Model]) -> Field[Any, Any]:
    field: Any = model._meta.pk
    while field.remote_field is not None:  # a child's key is that of its parent
        field = field.target_field
    return field  # type: ignore[no-any-return]  # as annotated


def owns(owned: QuerySet[Any], subject_pk: str) -> bool:
    """Whether the row that *subject_pk* names is in *owned*."""
    try:
        pk = owned.model._meta.pk.to_python(subject_pk)
    except Exception:  # noqa: BLE001  # what no field can read names no row
        return False
    return owned.filter(pk=pk).exists()
