"""What one hint, or one run, may make of a delivery: judged by that delivery and its mood alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from reliable_effects.outbox.states import WAITING, Flag, Notes, Reason, State, noted

from .effects import MOST, NAP
from .rows import Row
from .script import Call, Mood

NEARLY = timedelta(seconds=2)  # an instant so near to now may have passed while we looked
_MAX_SNOOZE = timedelta(days=7)  # the setting's default
_MAX_KILLS = 3


@dataclass(frozen=True)
class End:
    """Where a delivery may stand; `spent` is counted from before its claim."""

    state: State
    spent: int
    reason: str = ""


def was_due(row: Row, now: datetime) -> bool | None:
    """Whether a worker might have taken it; None where that hangs on a moment."""
    if row["state"] not in WAITING or row["look_at"] is None:
        return False
    if abs(row["due_at"] - now) < NEARLY:
        return None
    return row["due_at"] <= now


def after_call(  # noqa: PLR0911  # one for each way to end
    row: Row, call: Call, *, can_verify: bool
) -> set[End]:
    """*row* is what stood before the claim; its effect, or its `verify`, was called."""
    if call.verifying:
        return _after_verify(row, call)
    last = row["attempts"] + 1 >= MOST
    match call.mood:
        case Mood.SNOOZE:
            slept = timedelta(seconds=noted(row["notes"], Notes.SNOOZED)) + NAP
            if slept > _MAX_SNOOZE:
                return {End(State.POISONED, 1, Reason.SNOOZED_OUT)}
            return {End(State.PENDING, 0)}
        case Mood.SKIP:
            return {End(State.SKIPPED, 1, Reason.EFFECT_SKIPPED)}
        case Mood.POISON:
            return {End(State.POISONED, 1, Reason.REFUSED)}
        case Mood.UNSURE | Mood.UNSURE_ACTED:
            return {End(State.UNCERTAIN, 1)}
        case Mood.TIMEOUT | Mood.TIMEOUT_ACTED if can_verify:
            return {End(State.UNCERTAIN, 1)}
        case Mood.TIMEOUT | Mood.TIMEOUT_ACTED:
            spent = End(State.POISONED, 1, Reason.TIMED_OUT)
            return {spent if last else End(State.PENDING, 1)}
        case Mood.FAIL | Mood.FAIL_LATE:
            spent = End(State.POISONED, 1, Reason.ATTEMPTS_SPENT)
            return {spent if last else End(State.PENDING, 1)}
    return {End(State.SUCCEEDED, 1)}


def _after_verify(row: Row, call: Call) -> set[End]:
    if call.answer is None:
        return {End(State.UNCERTAIN, 0)}
    if call.answer:
        return {End(State.SUCCEEDED, 0)}
    if noted(row["notes"], Notes.KILLS) >= _MAX_KILLS:
        return {End(State.POISONED, 0, Reason.KILLED_WORKERS)}
    if row["attempts"] >= MOST:
        return {End(State.POISONED, 0, Reason.ATTEMPTS_SPENT)}
    return {End(State.PENDING, 0)}


def after_no_call(row: Row, *, known: bool, needed: bool) -> set[End]:
    """A worker looked at it and called nothing: handed on, put off, released, or set aside."""
    ends = {End(State(row["state"]), 0, row["reason"])}
    if row["attempts"] >= MOST and row["state"] == State.PENDING:
        # Also where the payload is of a later release: nobody may run it any more.
        reasons = (Reason.ATTEMPTS_SPENT, Reason.KILLED_WORKERS, Reason.TIMED_OUT)
        ends |= {End(State.POISONED, 0, reason) for reason in reasons}
    if not known:
        return ends | {
            End(State.POISONED, 0, Reason.UNKNOWN_EFFECT),
            End(State.POISONED, 0, Reason.UNREADABLE),  # a payload of a later version
        }
    if not needed:
        ends.add(End(State.SKIPPED, 1, Reason.NOT_NEEDED))
    return ends


def may_wait_for_a_person(row: Row, *, can_verify: bool) -> bool:
    """An uncertain delivery that nobody looks at: nobody is left to ask, or asking kills."""
    notes = row["notes"]
    asked, kills = noted(notes, Notes.VERIFIES), noted(notes, Notes.KILLS)
    return not can_verify or asked >= MOST or kills >= _MAX_KILLS


def is_alone(row: Row) -> bool:
    return bool(row["flags"] & Flag.ALONE)
