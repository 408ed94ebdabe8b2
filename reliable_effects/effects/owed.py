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

    def rows(self, model: type[Model], using: str) -> QuerySet[Any]:
        """
        What owes now on *using*, in no order: rows of *model*, to be filtered further.

        Raises:
            TypeError: the function returns something else, which would be asked about other rows
                than the effect is about, or could not be filtered.
        """
        found = self.query()
        if problem := _problem_of(found, model):
            raise TypeError(f"The owed query of {self.effect!r} {problem}")
        rows = found.using(using).order_by()
        rows.query.standard_ordering = True  # reverse() turns every later order round
        return rows

    def still_owes(self, subject: Model, using: str) -> bool:
        """Ask again for one row, on the writer, without the grace."""
        return self.rows(type(subject), using).filter(pk=subject.pk).exists()

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


def _problem_of(found: Any, model: type[Model]) -> str:
    if not isinstance(found, QuerySet):
        return f"returns a {type(found).__name__}; it needs to return a queryset."
    asked, about = _table_of(found.model), _table_of(model)
    if asked is not about:
        return f"is about {asked._meta.label}, and the effect about {about._meta.label}."
    query = found.query
    if query.is_sliced or query.combinator or query.distinct_fields or query.values_select:
        return (
            "is sliced, a union, DISTINCT ON, or of values; it needs to be a queryset of whole rows"
            " that can be filtered further."
        )
    return ""


def _table_of(model: type[Model]) -> type[Model]:
    return model._meta.concrete_model or model
