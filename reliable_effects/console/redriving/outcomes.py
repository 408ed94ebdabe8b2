"""What became of the deliveries that an operation has released: read, written down, counted."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from ...clock import in_utc
from ...conf import settings
from ...outbox.models import Attempt, Delivery
from ...outbox.states import State
from .models import Outcome, RedriveItem, RedriveOperation

BATCH = 1000  # of one step

_SOON = timedelta(seconds=2)  # less than a period of the sweep: each is looked at in every turn
_LATER = timedelta(minutes=1)  # what fails rests anyway, and nobody waits for the others
_NAMED = 3  # kinds of failures that a halt names
_ASKED = 50  # failures that are looked at for it

COUNTED = {
    Outcome.SUCCEEDED: "succeeded",
    Outcome.SKIPPED: "skipped",
    Outcome.FAILING: "failing",
    Outcome.FAILED: "failed",
    Outcome.OTHERWISE: "otherwise",
    Outcome.LEFT_ALONE: "left_alone",
}
"""Where an operation counts them."""


def settle(operation: RedriveOperation, now: datetime) -> bool:
    """Look at what is followed, in the caller's transaction; whether there is more to look at."""
    items = RedriveItem.objects.using(operation._state.db)
    following = items.followed_in(operation)
    followed = list(following.filter(look_at__lte=now)[:BATCH])
    if not followed:
        # Further ahead than anything is written: the clock was put back.
        followed = list(following.filter(look_at__gt=now + 2 * _LATER)[:BATCH])
    if not followed:
        return False
    found = Delivery.objects.using(operation._state.db).in_bulk([i.delivery_id for i in followed])
    moves: dict[tuple[Outcome, datetime | None], list[int]] = {}
    for item in followed:
        outcome = outcome_of(found.get(item.delivery_id))
        _count(operation, item, outcome)
        moves.setdefault((outcome, _next_look(item, outcome, now)), []).append(item.pk)
    for (outcome, look_at), pks in moves.items():
        items.filter(pk__in=pks).update(outcome=outcome, look_at=look_at)
    return len(followed) == BATCH


def outcome_of(row: Delivery | None) -> Outcome:  # noqa: PLR0911  # one for each state
    """What a delivery that was redriven tells: its attempts were set back to 0 then."""
    if row is None:
        return Outcome.OTHERWISE
    match State(row.state):
        case State.SUCCEEDED:
            return Outcome.SUCCEEDED
        case State.SKIPPED:
            return Outcome.SKIPPED
        case State.CANCELLED:
            return Outcome.OTHERWISE
        case State.POISONED:
            return Outcome.FAILED
        case State.UNCERTAIN:
            return Outcome.FAILED if row.look_at is None else Outcome.FAILING
        case State.PENDING:
            return Outcome.FAILING if row.attempts else Outcome.RELEASED
        case State.RUNNING:  # this attempt is counted, and its end unknown
            return Outcome.FAILING if row.attempts > 1 else Outcome.RELEASED


def _count(operation: RedriveOperation, item: RedriveItem, outcome: Outcome) -> None:
    before = Outcome(item.outcome)
    if outcome == before:
        return
    for which, step in ((before, -1), (outcome, 1)):
        if name := COUNTED.get(which):
            setattr(operation, name, getattr(operation, name) + step)
    if before == Outcome.RELEASED and outcome != Outcome.OTHERWISE and _is_of_this_ramp(
        operation, item
    ):  # fmt: skip
        operation.round_known += 1
        operation.round_failing += outcome in (Outcome.FAILING, Outcome.FAILED)


def _is_of_this_ramp(operation: RedriveOperation, item: RedriveItem) -> bool:
    began, released = operation.ramp_began_at, item.released_at
    return began is None or released is None or in_utc(released) >= in_utc(began)


def _next_look(item: RedriveItem, outcome: Outcome, now: datetime) -> datetime | None:
    if outcome == Outcome.FAILING:
        return now + _LATER
    if outcome != Outcome.RELEASED:
        return None
    return now + (_LATER if is_overdue(item.released_at, now) else _SOON)


def is_overdue(released_at: datetime | None, now: datetime) -> bool:
    return released_at is not None and in_utc(released_at) <= now - settings().redrive_patience


def overdue(operation: RedriveOperation, now: datetime, at_most: int) -> int:
    """Released longer ago than anybody waits for one, and nothing is known; counted so far."""
    rows = RedriveItem.objects.using(operation._state.db).filter(
        operation=operation,
        outcome=Outcome.RELEASED,
        released_at__lte=now - settings().redrive_patience,
    )
    return rows.order_by("pk").values("pk")[:at_most].count()


def why_they_fail(operation: RedriveOperation) -> str:
    """The commonest failures of those released last, by type alone: a message needs a permission."""
    using: Any = operation._state.db
    items = RedriveItem.objects.using(using).filter(operation=operation)
    ids: list[int] = []
    for outcome in (Outcome.FAILED, Outcome.FAILING):  # each along the index
        newest = items.filter(outcome=outcome).order_by("-pk")
        ids += newest.values_list("delivery_id", flat=True)[:_ASKED]
    tries = Attempt.objects.using(using).filter(delivery_id__in=ids).order_by("pk")
    last = {each.delivery_id: each for each in tries.defer("message", "traceback")}
    kinds = Counter(
        each.exception_type or Attempt.Outcome(each.outcome).label for each in last.values()
    )
    told = [f"{kind} ({count})" for kind, count in kinds.most_common(_NAMED)]
    return ", ".join(told) or "nothing is kept of why"
