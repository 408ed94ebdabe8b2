"""Whom rows are about: a column of the list, a link only for who may open that page."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpRequest

from . import looks
from .pages import ReadOnlyAdmin
from .reader import ForReader


class ShowsSubject(ReadOnlyAdmin):
    """The list has the subject behind the column `subject_follows`; pages name `subject_field()`."""

    subject_follows: ClassVar[str]

    def names_subject(self, row: Any) -> looks.AboutSubject:
        """What names the subject of *row*: itself, or its event."""
        found: looks.AboutSubject = row
        return found

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        shown: list[Any] = list(super().get_list_display(request))
        shown.insert(shown.index(self.subject_follows) + 1, self.subject_field(request))
        return shown

    def subject_field(self, request: HttpRequest) -> ForReader:
        return ForReader("shown_subject", "subject", self._subject_link, request)

    def _subject_link(self, row: Any, request: HttpRequest) -> str:
        return looks.subject_link(self.names_subject(row), self.admin_site, request)
