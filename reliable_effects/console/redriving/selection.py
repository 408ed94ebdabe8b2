"""
Which deliveries a person has chosen: ids, or the filters of the list of deliveries.

A value: it goes to JSON and comes back, and means the same in the sweep as on the page. What it
does not know it refuses, for to leave a filter out is to take more than was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from django.db.models import Q

from ...outbox import narrowing, search
from ...outbox.models import Delivery, DeliveryQuerySet, OutboxEvent
from ...outbox.states import REDRIVABLE, Reason, State

AT_MOST = 10_000  # ids; more are chosen by a filter

_NOT_FILTERS = ("p", "o", "all", "e", "_facets")  # the list's page, order and notices
_LONGEST = 300  # characters of a value


class BadSelection(ValueError):
    """What was chosen cannot be redriven as one: it says why, and what to choose instead."""


@dataclass(frozen=True, slots=True)
class Selection:
    """`ids`, or `filters`: pairs of a name and its word, by name. Never both, never neither."""

    ids: tuple[int, ...] = ()
    filters: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of_ids(cls, ids: Iterable[int]) -> Self:
        """
        Raises:
            BadSelection: there are none, too many, or one is no id.
        """
        chosen = tuple(sorted(set(ids)))
        if not chosen:
            raise BadSelection("No delivery is chosen.")
        if len(chosen) > AT_MOST:
            raise BadSelection(
                f"{len(chosen)} deliveries are named one by one, at most {AT_MOST} may be."
                " Choose them by a filter."
            )
        return cls(ids=chosen)

    @classmethod
    def of_query(cls, query: Mapping[str, Sequence[str]]) -> Self:
        """
        What the list shows under the address with *query*, as lists of values by name.

        Raises:
            BadSelection: a name or a value is unknown, or they say no state.
        """
        found = {}
        for name, values in query.items():
            if name in _NOT_FILTERS:
                continue
            if name not in _MEANINGS:
                known = ", ".join(sorted(_MEANINGS))
                raise BadSelection(f"There is no filter {name!r}; there are {known}.")
            said = sorted({value.strip() for value in values} - {""})
            if len(said) > 1:
                raise BadSelection(f"The filter {name!r} has several values; choose one.")
            if said:
                found[name] = said[0]
        return cls._checked(found)

    @classmethod
    def from_json(cls, stored: Any) -> Self:
        """
        What `to_json` gave.

        Raises:
            BadSelection: it is something else, or of another release and unknown to this one.
        """
        if isinstance(stored, dict) and len(stored) == 1:
            ids, filters = stored.get("ids"), stored.get("filters")
            if isinstance(ids, list) and all(type(pk) is int and 0 < pk < _TOO_BIG for pk in ids):
                return cls.of_ids(ids)
            if isinstance(filters, dict) and all(
                isinstance(value, str) for value in filters.values()
            ):
                return cls.of_query({name: [value] for name, value in filters.items()})
        raise BadSelection("The selection cannot be read; begin again at the list of deliveries.")

    def to_json(self) -> dict[str, Any]:
        return {"ids": list(self.ids)} if self.ids else {"filters": dict(self.filters)}

    @classmethod
    def _checked(cls, filters: Mapping[str, str]) -> Self:
        for name, value in filters.items():
            if len(value) > _LONGEST or "\x00" in value or not _IS_KNOWN[name](value):
                shown = value[:80].replace("\x00", "␀")
                raise BadSelection(
                    f"The filter {name!r} has no value {shown!r}; choose one in the list."
                )
        chosen = cls(filters=tuple(sorted(filters.items())))
        if not {"state", "reason", "due", "group"} & filters.keys():
            # Else it would take along whatever was cancelled or skipped since the beginning.
            raise BadSelection("Choose a state, a reason or a group: no filter says which.")
        if not chosen.states:
            raise BadSelection(
                "None of these can be redriven: what waits, runs or succeeded is left alone."
            )
        return chosen

    @property
    def states(self) -> tuple[State, ...]:
        """In which states they may be: of those that a redrive leaves."""
        if self.ids:
            return REDRIVABLE
        said = [_STATES_OF[name](value) for name, value in self.filters if name in _STATES_OF]
        return tuple(state for state in REDRIVABLE if all(state in states for states in said))

    @property
    def group(self) -> str:
        """The fingerprint that all have; "" where none is chosen."""
        return dict(self.filters).get("group", "")

    def rows(self, using: str) -> DeliveryQuerySet:
        """Those of it that a redrive would change now, in no order."""
        return self.chosen(using).filter(state__in=self.states)

    def chosen(self, using: str) -> DeliveryQuerySet:
        """All of it, also what runs or succeeded meanwhile."""
        rows: DeliveryQuerySet = Delivery.objects.using(using).all()
        if self.ids:
            return rows.filter(pk__in=self.ids)
        for name, value in self.filters:
            rows = rows.filter(_MEANINGS[name](value, using))
        return rows

    def in_words(self) -> str:
        if self.ids:
            count = len(self.ids)
            return f"{count} chosen {'delivery' if count == 1 else 'deliveries'}"
        return ", ".join(f"{_WORDS[name]} {_said(name, value)}" for name, value in self.filters)


def _said(name: str, value: str) -> str:
    if name == "reason":
        return f"“{Reason(value).label}”"
    return f"“{value}”" if name in ("state", "q", "due") else value


def _effect(value: str, _using: str) -> Q:
    found = narrowing.of_effect(value)
    if found is None:  # it was known when it was chosen
        raise BadSelection(f"This release has no effect {value!r}.")
    return found


_TOO_BIG = 2**63
_WORDS = {
    "state": "state",
    "reason": "reason",
    "effect": "effect",
    "queue": "queue",
    "due": "due",
    "q": "search",
    "group": "group",
}
_MEANINGS: dict[str, Callable[[str, str], Q]] = {
    "state": lambda value, _: narrowing.STATES[value],
    "reason": lambda value, _: narrowing.REASONS[value],
    "effect": _effect,
    "queue": lambda value, _: Q(queue=value),
    "due": lambda value, _: narrowing.DUE[value](),
    "q": lambda value, using: search.deliveries(value, OutboxEvent.objects.using(using)),
    "group": lambda value, _: narrowing.of_group(value),
}
_IS_KNOWN: dict[str, Callable[[str], bool]] = {
    "state": narrowing.STATES.__contains__,
    "reason": narrowing.REASONS.__contains__,
    "effect": lambda value: narrowing.of_effect(value) is not None,
    "queue": bool,
    "due": narrowing.DUE.__contains__,
    "q": bool,
    "group": narrowing.is_group,
}
_STATES_OF: dict[str, Callable[[str], tuple[State, ...]]] = {
    "state": lambda value: narrowing.STATES_MEANT[value],
    "reason": lambda value: narrowing.REASONS_MEANT[value],
    "due": lambda _: (State.PENDING, State.UNCERTAIN),
    "group": lambda _: (State.POISONED,),
}
