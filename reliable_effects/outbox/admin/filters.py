"""Filters whose choices come from the code: a DISTINCT would read the whole table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from ...effects.registry import registry
from ..narrowing import DUE, REASONS, STATES, is_group, of_effect, of_group
from ..states import Reason


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
        return [(name, name) for name in STATES]

    def meaning(self, chosen: str) -> Q | None:
        return STATES.get(chosen)


class ReasonFilter(KnownChoices):
    title = parameter_name = "reason"

    def known(self) -> Iterable[tuple[str, str]]:
        return [(reason.value, reason.label) for reason in Reason if reason]

    def meaning(self, chosen: str) -> Q | None:
        return REASONS.get(chosen)


class EffectFilter(KnownChoices):
    title = parameter_name = "effect"

    def known(self) -> Iterable[tuple[str, str]]:
        return sorted((effect.name, effect.name) for effect in registry.effects())

    def meaning(self, chosen: str) -> Q | None:
        return of_effect(chosen)


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
        return of_group(chosen if is_group(chosen) else "?")


class DueFilter(KnownChoices):
    title = parameter_name = "due"

    def known(self) -> Iterable[tuple[str, str]]:
        return [("now", "now"), ("late", "5 minutes ago or longer"), ("later", "later")]

    def meaning(self, chosen: str) -> Q | None:
        return DUE[chosen]() if chosen in DUE else None


_NEWEST_EVENTS = 100_000


class EventNameFilter(KnownChoices):
    title, parameter_name = f"name, of the newest {_NEWEST_EVENTS:,}", "name"

    def known(self) -> Iterable[tuple[str, str]]:
        return sorted((event.name, event.name) for event in registry.events())

    def meaning(self, chosen: str) -> Q | None:
        return Q(name=chosen) if chosen else None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        found = super().queryset(request, queryset)
        if found is queryset:
            return queryset
        # No index has it, so the newest are looked through: a walk of the index by which they are
        # listed. A rare event of long ago is found by its subject.
        instants = queryset.order_by("-emitted_at").values_list("emitted_at", flat=True)
        last = next(iter(instants[_NEWEST_EVENTS - 1 : _NEWEST_EVENTS]), None)
        return found if last is None else found.filter(emitted_at__gte=last)
