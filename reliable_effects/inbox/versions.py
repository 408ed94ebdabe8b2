"""
`only_newer`: what comes late must not overwrite what is newer.

The sender counts the versions of its own row and says which one a message is about. Not when: two
clocks differ, and one clock goes back.
"""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

from ..exceptions import MessageTooEarly
from ..outbox.remedy import on_writer

M = TypeVar("M", bound=Model)


def only_newer(
    rows: QuerySet[M],
    *,
    version: int,
    field: str = "version",
    exactly_next: bool = False,
    **changes: Any,
) -> bool:
    """
    Write *changes*, and *version* into *field*, where that holds an older one, or none yet.

    One guarded UPDATE, so of two that come at once the newer stays. False: what stands there is as
    new or newer, and the message can be dropped. With `exactly_next` no version may be left out
    (the first is 1): for messages that say what changed, not how things stand.

        only_newer(Order.objects.filter(pk=pk), version=7, field="parcel_version", parcel="there")

    Raises:
        MessageTooEarly: `exactly_next`, and others are missing before it. Let it come again later.
        Model.DoesNotExist: there is no such row, or not yet, so nothing says that it is stale.
        TypeError: *version* is no whole number.
    """
    if not isinstance(version, int) or isinstance(version, bool):
        raise TypeError(
            f"version={version!r}: it needs to be a whole number that the sender counts for"
            " each row of its own. An instant is none: clocks differ."
        )
    none_yet = Q(**{field: None})
    if exactly_next:
        older = Q(**{field: version - 1}) | (none_yet if version == 1 else Q(pk__in=()))
    else:
        older = Q(**{f"{field}__lt": version}) | none_yet
    if rows.filter(older).update(**{**changes, field: version}):
        return True
    standing = on_writer(rows)  # where the UPDATE has looked
    found = standing.order_by().values_list(field, flat=True).first()
    if found is None and not standing.exists():
        raise rows.model.DoesNotExist(  # type: ignore[attr-defined]  # each model has its own
            f"No {rows.model._meta.label} stands where version {version} was to be written."
        )
    if exactly_next and version > (found or 0) + 1:
        raise MessageTooEarly(rows.model._meta.label, version, (found or 0) + 1)
    return False
