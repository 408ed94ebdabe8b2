"""How the effects of an order or of a trial's end stand, in words for a page."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Model, Prefetch
from django.utils import timezone

from reliable_effects.models import Attempt, Delivery
from reliable_effects.outbox.states import State

_WORDS = {
    State.SUCCEEDED: "done",
    State.SKIPPED: "not needed",
    State.POISONED: "set aside",
    State.UNCERTAIN: "asking",
}


TOLD = {
    "shop.charge_card": "Your payment",
    "shop.send_receipt": "Your receipt",
    "shop.reserve_stock": "Your goods",
    "shop.open_shipment": "Your shipment",
    "shop.add_loyalty_points": "Your points",
}
"""What customers are told of, and as what; how we do it is not their concern."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One delivery: `state` names its colour, `word` is what a person reads."""

    effect: str
    event: str
    state: str
    word: str
    attempts: int
    note: str
    key: str
    settled: bool


def effects_of(subject: Model, *more: Model) -> list[Line]:
    """Every delivery about these rows, by event and name."""
    deliveries = Delivery.objects.for_subject(subject)
    for another in more:
        deliveries = deliveries | Delivery.objects.for_subject(another)
    attempts = Prefetch("attempt_rows", Attempt.objects.order_by("pk"))
    rows = (
        deliveries.select_related("event")
        .prefetch_related(attempts)
        .order_by("event__emitted_at", "effect")
    )
    return [_line(delivery) for delivery in rows]


def is_settled(lines: list[Line]) -> bool:
    """Tell whether nothing more will happen by itself."""
    return all(line.settled for line in lines)


def _line(delivery: Delivery) -> Line:
    state = State(delivery.state)
    failed = list(delivery.attempt_rows.all())
    note = failed[-1].message if failed else ""
    word = _WORDS.get(state, state.label)
    if state == State.PENDING:
        word = "tries again" if delivery.attempts else "waiting"
        wait = (delivery.due_at - timezone.now()).total_seconds()
        if wait > 0:
            note = f"in {wait:.0f} s: {note}" if note else f"in {wait:.0f} s"
    return Line(
        effect=delivery.effect.removeprefix("shop.").replace("_", " "),
        event=delivery.event.name.removeprefix("shop.").replace("_", " "),
        state=state.name.lower(),
        word=word,
        attempts=delivery.attempts,
        note=note,
        key=delivery.idempotency_key,
        settled=state != State.RUNNING and delivery.look_at is None,
    )
