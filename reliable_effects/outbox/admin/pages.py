"""Pages that only show, and never count a big table to do so."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

COUNT_AT_MOST = 10_000  # rows; a hundred pages, and a few milliseconds on any database


class AtLeast(int):
    """A count that was cut short: "10,000+"."""

    def __str__(self) -> str:
        return f"{int(self):,}+"


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # not generic at run time
    """Counts so far and no further. What lies behind is found with filters and search."""

    @cached_property
    def count(self) -> int:
        found = self.to_count().values("pk")[: COUNT_AT_MOST + 1].count()
        return AtLeast(COUNT_AT_MOST) if found > COUNT_AT_MOST else found

    def to_count(self) -> QuerySet[Any]:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # on a list page it is one
        return rows.order_by()


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Rows as they are. GET changes nothing, and there is no form that could."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    actions_selection_counter = True

    class Media:
        css = {"all": ["reliable_effects/admin.css"]}

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """
        Nothing but what filters ask for: `?event__payload__contains=…` would let whoever may see
        the list guess, letter by letter, what they may not see, and read a whole table to do so.
        """
        filters: list[Any] = list(self.get_list_filter(request))
        if lookup in {getattr(each, "parameter_name", None) for each in filters}:
            return True
        named = [each[0] if isinstance(each, tuple | list) else each for each in filters]
        fields = {each for each in named if isinstance(each, str)}
        if self.date_hierarchy:
            fields.add(self.date_hierarchy)
        if not any(lookup == name or lookup.startswith(f"{name}__") for name in fields):
            return False
        return super().lookup_allowed(lookup, value, request)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """All that the page shows: as named by the class, or by `get_fieldsets` for each reader."""
        return self.readonly_fields or flatten_fieldsets(self.get_fieldsets(request, obj))

    def has_add_permission(self, *_: Any, **__: Any) -> bool:
        return False

    def has_change_permission(self, *_: Any, **__: Any) -> bool:
        return False

    def has_delete_permission(self, *_: Any, **__: Any) -> bool:
        return False
