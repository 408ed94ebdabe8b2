"""
What a floor above knows of what was sent: of which deliveries nothing can have been carried out, and
of which nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .claimed import Claimed
from .models import Delivery
from .persist import surely
from .states import Notes, noted


@dataclass(frozen=True, slots=True)
class Evidence:
    """Ids of deliveries, under the keys that they have now."""

    not_done: set[int] = field(default_factory=set)
    in_doubt: set[int] = field(default_factory=set)


Ask = Callable[[Sequence[Delivery]], Evidence]

_asked: list[Ask] = []


def use(ask: Ask) -> None:
    """Ask a floor above. `apps.ready()` calls it."""
    if ask not in _asked:
        _asked.append(ask)


def surely_did_not_happen(rows: Sequence[Delivery]) -> set[int]:
    """Which of *rows* nobody can have carried out, as far as calls are known to us."""
    found = {row.pk for row in rows if noted(row.notes, Notes.ABSENT)}
    return found.union(*(ask(rows).not_done for ask in _asked))


def is_in_doubt(claimed: Claimed) -> bool:
    """Whether something was sent for it of which nobody knows what became."""
    rows = Delivery.objects.using(claimed.using).filter(pk=claimed.id)

    def ask_all() -> bool:
        found = list(rows)
        return any(ask(found).in_doubt for ask in _asked)

    return surely(claimed.using, ask_all)
