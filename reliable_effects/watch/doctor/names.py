"""Names in rows that this release does not know: what it could not carry out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ...conf import settings
from ...effects.registry import registry
from ...outbox.models import Delivery
from ...outbox.states import State
from ..status import COUNT_AT_MOST, shown
from .fact import Fact, Severity

_ORDERS = {  # each one end of an index
    State.PENDING: "due_at",
    State.UNCERTAIN: "-pk",
    State.RUNNING: "-pk",
    State.POISONED: "-pk",
}


def unknown(using: str) -> Iterator[Fact]:
    """Of the first 10,000 rows in each state; `payloads` reads them all."""
    found = False
    for state, order in _ORDERS.items():
        rows = Delivery.objects.using(using).filter(state=state).order_by(order)
        names = Counter(rows.values_list("effect", flat=True)[:COUNT_AT_MOST])
        for name, count in sorted(names.items()):
            if registry.find_effect(name) is None:
                found = True
                yield _strange(f"database {using}", state, name, count)
    if not found:
        yield Fact(Severity.FINE, f"database {using}", "every effect in its rows is known here")


def _strange(about: str, state: State, name: str, count: int) -> Fact:
    told = f"{shown(count)} {state.label} of {name}, which this release does not declare"
    if state == State.POISONED:
        return Fact(Severity.DOUBTFUL, about, told, "Redrive them from a release that does.")
    hours = f"{settings().max_unknown.total_seconds() / 3600:g}"
    return Fact(
        Severity.WRONG,
        about,
        told,
        f'Keep it: @effect(…, aliases=["{name}"]). After {hours} h they are poison pills.',
    )
