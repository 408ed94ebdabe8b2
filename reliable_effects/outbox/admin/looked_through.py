"""
How far a list of deliveries is looked through, where no index has what was chosen.

An effect, a queue, a reason or what has ended may be rare: to find the last one, or that there is
none, a database would read ten million rows. So the newest are looked through, of what an index
tells apart; or those that are due first, where they wait. The list says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from ..models import Delivery, DeliveryQuerySet
from ..narrowing import DUE, REASONS_MEANT, STATES_MEANT
from ..states import SET_ASIDE, State
from .filters import KnownChoices
from .pages import BoundedPaginator

NEWEST = 100_000  # of all, by their ids: twice 30 ms, in a table whose rows lie in this order
OF_STATE = 50_000  # of one state: they lie scattered among the others

# Of what waits. In the order of ids PostgreSQL looks for it among all that have ended, where it takes
# it for common: of a state and an instant together it knows nothing.
DUE_FIRST = ("due_at", "pk")

_BY_ID = (State.RUNNING, *SET_ASIDE)  # an index has these by state and id


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a list that is looked through, as a condition and in words."""

    condition: Q
    said: str


def window(rows: QuerySet[Delivery], chosen: Mapping[str, str]) -> Window | None:
    """Of all *rows*, for the filters that are *chosen*; None where all of it may be looked through."""
    states = states_of(chosen)
    if not _is_walk(chosen, states):
        return None
    of_all: DeliveryQuerySet = Delivery.objects.using(rows.db).order_by()
    if group := chosen.get("group"):
        return _of(of_all.alike(group), "in this group")
    if states == {State.PENDING} and not chosen.get("due"):
        return _due_first(of_all)
    if states and states <= set(_BY_ID):
        return _of_each(of_all, sorted(states))
    return _newest(of_all)


def states_of(chosen: Mapping[str, str]) -> set[State] | None:
    """In which states all can be that are chosen; None where nothing says."""
    said: list[Collection[State]] = []
    for name, meant in (("state", STATES_MEANT), ("reason", REASONS_MEANT)):
        if chosen.get(name) in meant:
            said.append(meant[chosen[name]])
    if chosen.get("due") in DUE:
        said.append((State.PENDING, State.UNCERTAIN))
    if not said:
        return None
    return set(said[0]).intersection(*said[1:])


def _is_walk(chosen: Mapping[str, str], states: set[State] | None) -> bool:
    if any(chosen.get(name) for name in ("effect", "queue", "reason")):
        return True
    if chosen.get("due"):
        return False  # an index tells these apart
    return states is not None and any(state not in _BY_ID for state in states)


def _of_each(rows: DeliveryQuerySet, states: Sequence[State]) -> Window | None:
    parts = [(state, _of(rows.filter(state=state), f"that are {state.label}")) for state in states]
    condition = Q()
    for state, part in parts:
        condition |= Q(state=state) & (part.condition if part is not None else Q())
    said = [part.said for _, part in parts if part is not None]
    return Window(condition, ", and ".join(said)) if said else None


def _of(rows: DeliveryQuerySet, which: str) -> Window | None:
    bound = _at(rows.order_by("-pk").values_list("pk", flat=True))
    return bound and Window(Q(pk__gte=bound), f"the newest {OF_STATE:,} {which}")


def _due_first(rows: DeliveryQuerySet) -> Window | None:
    waiting = rows.filter(state=State.PENDING)
    bound = _at(waiting.order_by("due_at").values_list("due_at", flat=True))
    said = f"the {OF_STATE:,} waiting ones that are due first"
    return bound and Window(Q(due_at__lte=bound), said)


def _newest(rows: DeliveryQuerySet) -> Window | None:
    ids = rows.values_list("pk", flat=True)
    newest = ids.order_by("-pk").first() or 0
    # Ids go on where rows are pruned: a short list may have large ones.
    if newest <= NEWEST or (ids.order_by("pk").first() or 0) > newest - NEWEST:
        return None
    return Window(Q(pk__gt=newest - NEWEST), f"the newest {NEWEST:,} deliveries")


def _at(ordered: QuerySet[Any, Any]) -> Any:
    """The last one that is looked through, by an index alone; None where there are fewer."""
    return next(iter(ordered[OF_STATE - 1 : OF_STATE]), None)


class InTheirOrder(BoundedPaginator):
    """Counts along the index that the list goes along: for "some of them" all may be read."""

    def to_count(self) -> QuerySet[Any]:
        return cast("QuerySet[Any]", self.object_list)


class DeliveryList(ChangeList):
    """A list of deliveries; `looked_through` says of which part, "" where it is all."""

    looked_through = ""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        rows = super().get_queryset(request, exclude_parameters)
        if self.query.strip():
            return rows  # what is searched for is found by an index, and is little
        chosen = {
            str(spec.parameter_name): str(spec.value())
            for spec in self.filter_specs
            if isinstance(spec, KnownChoices) and spec.meaning(spec.value() or "") is not None
        }
        if states_of(chosen) == {State.PENDING} and "due" not in chosen:
            rows = rows.order_by(*DUE_FIRST)
        part = window(rows, chosen)
        if part is None:
            return rows
        self.looked_through = part.said
        return rows.filter(part.condition)
