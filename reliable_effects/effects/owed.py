"""What the business tables say is owed: one query that is the re-check and the repair."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.db.models import Model, QuerySet


class _Once(enum.Enum):
    ONCE = "once"


ONCE: Final = _Once.ONCE
"""The debt is owed once in its subject's life."""

Debt = _Once | Callable[[Any], str]


@dataclass(frozen=True, kw_only=True, slots=True)
class OwedQuery:
    """
    Which subjects still owe one effect.

    `debt` tells several debts of one subject apart (an invoice per month), or is ONCE.
    """

    effect: str  # for messages
    query: Callable[[], QuerySet[Any]]
    since: str  # the field that says since when a row has been owing
    grace: timedelta  # how long after that nobody is alarmed
    debt: Debt
    reopen: bool = False  # what succeeded and is still owed is run again, by and by
    payload: Callable[[Any], Any] | None = None  # for an event that reconcile has to make up

    def still_owes(self, subject: Model, using: str) -> bool:
        """Ask again for one row, on the writer, without the grace."""
        return self.query().using(using).filter(pk=subject.pk).exists()

    def debt_of(self, subject: Any) -> str:
        """The name of this subject's debt: what tells it from the subject's other debts."""
        if self.debt is ONCE:
            return "once"
        named = self.debt(subject)
        if not isinstance(named, str) or not named:
            raise TypeError(
                f"debt= of {self.effect!r} gave {named!r} for {subject!r}; it needs to be a string."
            )
        return named
