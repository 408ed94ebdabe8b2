"""Filters whose choices come from the code: a DISTINCT would read the whole table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from ...clock import DbNow
from ...effects.registry import registry
from ..models import ALIKE
from ..states import WAITING, Reason, State

_LATE = timedelta(minutes=5)
_FINGERPRINT = re.compile(r"[0-9a-f]{32}")

_STATES: dict[str, Q] = {
    "needs a person": Q(state=State.POISONED) | Q(state=State.UNCERTAIN, look_at=None),
    "retrying": Q(state=State.PENDING, attempts__gt=0),
} | {state.label: Q(state=state) for state in State}

# With its state named, a reason is found through the partial index on what was set aside.
_REASONS: dict[str, Q] = {
    reason.value: Q(reason=reason, state=State.POISONED) for reason in Reason if reason
} | {
    Reason.NOT_NEEDED.value: Q(reason=Reason.NOT_NEEDED, state=State.SKIPPED),
    Reason.EXPIRED.value: Q(reason=Reason.EXPIRED, state=State.SKIPPED),
    Reason.EFFECT_SKIPPED.value: Q(reason=Reason.EFFECT_SKIPPED, state=State.SKIPPED),
    Reason.SUBJECT_GONE.value: Q(
        reason=Reason.SUBJECT_GONE, state__in=(State.POISONED, State.SKIPPED)
    ),
}

_DUE: dict[str, Callable[[], Q]] = {
    "now": lambda: Q(state__in=WAITING, look_at__isnull=False, due_at__lte=DbNow()),
    "late": lambda: Q(state__in=WAITING, look_at__isnull=False, due_at__lte=DbNow() - _LATE),
    "later": lambda: Q(state__in=WAITING, look_at__isnull=False, due_at__gt=DbNow()),
}


class KnownChoices(admin.SimpleListFilter):
    """A list filter that offers what the code knows, and ignores what it does not."""

    def known(self) -> Iterable[tuple[str, str]]:
        raise NotImplementedError

    def meaning(self, chosen: str) -> Q | None:
        raise NotImplementedError

    def lookups(self, *_: Any, **__: Any) -> list[tuple[str, str]]:
        return list(self.known())

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        meaning = self.meaning(self.value() or "")
        return queryset if meaning is None else queryset.filter(meaning)


class StateFilter(KnownChoices):
    title = parameter_name = "state"

    def known(self) -> Iterable[tuple[str, str]]:
        return [(name, name) for name in _STATES]

    def meaning(self, chosen: str) -> Q | None:
        return _STATES.get(chosen)


class ReasonFilter(KnownChoices):
    title = parameter_name = "reason"

    def known(self) -> Iterable[tuple[str, str]]:
        return [(reason.value, reason.label) for reason in Reason if reason]

    def meaning(self, chosen: str) -> Q | None:
        return _REASONS.get(chosen)


class EffectFilter(KnownChoices):
    title = parameter_name = "effect"

    def known(self) -> Iterable[tuple[str, str]]:
        return sorted((effect.name, effect.name) for effect in registry.effects())

    def meaning(self, chosen: str) -> Q | None:
        effect = registry.find_effect(chosen)
        return Q(effect__in=(effect.name, *effect.aliases)) if effect else None


class QueueFilter(KnownChoices):
    title = parameter_name = "queue"

    def known(self) -> Iterable[tuple[str, str]]:
        return sorted((queue, queue) for queue in registry.queues())

    def meaning(self, chosen: str) -> Q | None:
        return Q(queue=chosen) if chosen else None


class GroupFilter(KnownChoices):
    """Pills with one fingerprint: `?group=…`, as a page of a floor above links it. Else not offered."""

    title = "group of failures"
    parameter_name = "group"

    def lookups(self, request: HttpRequest, *_: Any, **__: Any) -> list[tuple[str, str]]:
        chosen = request.GET.get(self.parameter_name, "")
        return [(chosen, chosen[:8])] if chosen else []  # enough to tell it from others

    def meaning(self, chosen: str) -> Q | None:
        if not chosen:
            return None
        # What is no fingerprint has no pills. To show all of them would invite to redrive them.
        known = chosen if _FINGERPRINT.fullmatch(chosen) else "?"
        return ALIKE & Q(fingerprint=known)


class DueFilter(KnownChoices):
    title = parameter_name = "due"

    def known(self) -> Iterable[tuple[str, str]]:
        return [("now", "now"), ("late", "5 minutes ago or longer"), ("later", "later")]

    def meaning(self, chosen: str) -> Q | None:
        return _DUE[chosen]() if chosen in _DUE else None


class EventNameFilter(KnownChoices):
    title = parameter_name = "name"

    def known(self) -> Iterable[tuple[str, str]]:
        return sorted((event.name, event.name) for event in registry.events())

    def meaning(self, chosen: str) -> Q | None:
        return Q(name=chosen) if chosen else None
