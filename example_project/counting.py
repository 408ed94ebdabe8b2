"""What reliable_effects says of itself, to be shown beside what the partners say."""

from __future__ import annotations

from django.db.models import Count

from reliable_effects.models import Delivery
from reliable_effects.outbox.states import State

_SHOWN = {
    "done": State.SUCCEEDED,
    "waiting": State.PENDING,
    "running": State.RUNNING,
    "uncertain": State.UNCERTAIN,
    "skipped": State.SKIPPED,
    "poisoned": State.POISONED,
}


def counts() -> dict[str, int]:
    """Count the deliveries by state, `promised` being all of them."""
    rows = Delivery.objects.order_by().values_list("state").annotate(Count("pk"))
    by_state = dict(rows)
    return {"promised": sum(by_state.values())} | {
        word: by_state.get(state, 0) for word, state in _SHOWN.items()
    }


def as_line(counted: dict[str, int]) -> str:
    return "  ".join(f"{word} {number}" for word, number in counted.items())
