"""Filters whose choices come from the code, and a hierarchy of dates that never reads the table."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.timezone import localtime

from ...clock import DbNow
from ...effects.registry import registry
from ...outbox.admin.filters import KnownChoices
from ..models import LATE, ScheduledJob
from ..states import OPEN, JobReason, JobState

_STATES: dict[str, Q] = {
    "needs a person": Q(state__in=(JobState.BLOCKED, JobState.MISSED)),
} | {state.label: Q(state=state) for state in JobState}

_DUE: dict[str, Callable[[], Q]] = {
    "now": lambda: Q(state=JobState.WAITING, at__lte=DbNow()),
    "late": lambda: Q(state__in=OPEN, at__lte=DbNow() - LATE),
    "day": lambda: Q(state=JobState.WAITING, at__gt=DbNow(), at__lte=DbNow() + timedelta(days=1)),
    "week": lambda: Q(state=JobState.WAITING, at__gt=DbNow(), at__lte=DbNow() + timedelta(days=7)),
}


class JobStateFilter(KnownChoices):
    title = parameter_name = "state"

    def known(self) -> Iterable[tuple[str, str]]:
        return [(name, name) for name in _STATES]

    def meaning(self, chosen: str) -> Q | None:
        return _STATES.get(chosen)


class JobReasonFilter(KnownChoices):
    title = parameter_name = "reason"

    def known(self) -> Iterable[tuple[str, str]]:
        return [(reason.value, reason.label) for reason in JobReason if reason]

    def meaning(self, chosen: str) -> Q | None:
        return Q(state=JobState.BLOCKED, reason=chosen) if chosen else None


class JobEventFilter(KnownChoices):
    title = parameter_name = "event"

    def known(self) -> Iterable[tuple[str, str]]:
        return sorted((event.name, event.name) for event in registry.events())

    def meaning(self, chosen: str) -> Q | None:
        return Q(event=chosen) if chosen else None


class JobDueFilter(KnownChoices):
    title = parameter_name = "due"

    def known(self) -> Iterable[tuple[str, str]]:
        return [
            ("now", "now"),
            ("late", "5 minutes ago or longer"),
            ("day", "within a day"),
            ("week", "within a week"),
        ]

    def meaning(self, chosen: str) -> Q | None:
        return _DUE[chosen]() if chosen in _DUE else None


@dataclass(frozen=True, slots=True)
class Period:
    """One link of the hierarchy."""

    title: str
    query: str
    chosen: bool = False


class Dates:
    """
    Years, months and days between the first and the last job, as links.

    Django's own asks which of them have rows, and for that it reads them all.
    """

    def __init__(self, request: HttpRequest, rows: QuerySet[ScheduledJob]) -> None:
        self._query = request.GET.copy()
        self._query.pop("p", None)
        # The last of several, as Django takes it, which has refused what is no date.
        chosen = [self._query.pop(f"at__{part}", [""])[-1] for part in ("year", "month", "day")]
        self.year, self.month, self.day = (int(c) if c.isdecimal() else None for c in chosen)
        self._rows = rows

    def back(self) -> list[Period]:
        """What was chosen, the widest first, each a way back."""
        found = []
        if self.year is not None:
            found.append(self._period("All dates"))
            if self.month is not None:
                found.append(self._period(str(self.year), self.year))
                if self.day is not None:
                    title = f"{date(self.year, self.month, 1):%B}"
                    found.append(self._period(title, self.year, self.month))
        return found

    def choices(self) -> list[Period]:
        if self.year is None:
            return [self._period(str(year), year) for year in self._years()]
        if self.month is None:
            return [
                self._period(f"{date(self.year, month, 1):%B}", self.year, month)
                for month in range(1, 13)
            ]
        days = range(1, monthrange(self.year, self.month)[1] + 1)
        return [
            self._period(str(day), self.year, self.month, day, chosen=day == self.day)
            for day in days
        ]

    def _years(self) -> range:
        """From one end of the index to the other, in each state."""
        ends: list[datetime] = []
        for state in JobState:
            for order in ("at", "-at"):
                of_state = self._rows.filter(state=state).order_by(order)
                ends += of_state.values_list("at", flat=True)[:1]
        if not ends:
            return range(0)
        return range(localtime(min(ends)).year, localtime(max(ends)).year + 1)

    def _period(self, title: str, *parts: int, chosen: bool = False) -> Period:
        query = self._query.copy()
        for part, value in zip(("year", "month", "day"), parts, strict=False):
            query[f"at__{part}"] = str(value)
        return Period(title, f"?{query.urlencode()}", chosen)
