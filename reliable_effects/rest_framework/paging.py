"""Pages of events, the newest first, and what is made of cursors that nobody gave out."""

from __future__ import annotations

from django.conf import settings
from django.utils.dateparse import parse_datetime
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

_MOST_SKIPPED = 10_000  # events of one instant that a cursor may lie behind
_YEARS = range(1900, 2201)


class NewestFirst(CursorPagination):
    ordering = ("-emitted_at", "-id")
    page_size = 20
    offset_cutoff = None  # type: ignore[assignment]  # as its code allows; many events of one statement have one instant

    def decode_cursor(self, request: Request) -> Cursor | None:
        given = request.query_params.get(self.cursor_query_param)
        if given is None:
            return None
        try:
            cursor = super().decode_cursor(request)
        except Exception as error:
            raise self._leads_nowhere() from error
        if cursor is None or not _leads_somewhere(cursor):
            raise self._leads_nowhere()
        return cursor

    def _leads_nowhere(self) -> ValidationError:
        return ValidationError({self.cursor_query_param: ["This leads to no page."]})


def _leads_somewhere(cursor: Cursor) -> bool:
    """Whether we may have made it: anybody can make up another that no database understands."""
    if cursor.offset > _MOST_SKIPPED:
        return False
    if cursor.position is None:
        return True
    try:
        instant = parse_datetime(str(cursor.position))
    except ValueError:
        return False
    return (
        instant is not None
        and instant.year in _YEARS
        and (instant.tzinfo is not None) == settings.USE_TZ
    )
