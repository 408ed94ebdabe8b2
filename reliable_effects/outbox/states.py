"""The states of a delivery, why it is in one, and every legal move between them."""

from __future__ import annotations

import secrets
from typing import Any

from django.db.models import IntegerChoices, TextChoices


class State(IntegerChoices):
    """Where a delivery stands. "Retrying" is PENDING with attempts: shown, not stored."""

    PENDING = 0, "waiting"
    RUNNING = 1, "running"
    SUCCEEDED = 2, "succeeded"
    SKIPPED = 3, "skipped"
    CANCELLED = 4, "cancelled"
    UNCERTAIN = 5, "uncertain"
    POISONED = 6, "poisoned"


WAITING = (State.PENDING, State.UNCERTAIN)  # what a worker may claim
ENDED_WELL = (State.SUCCEEDED, State.SKIPPED, State.CANCELLED)  # what may be pruned, one day
SET_ASIDE = (State.UNCERTAIN, State.POISONED)  # what a person may have to look at


class Reason(TextChoices):
    """Why a delivery is where it is, where the state alone does not say."""

    NONE = "", ""
    # SKIPPED
    NOT_NEEDED = "NOT_NEEDED", "no longer needed"
    EXPIRED = "EXPIRED", "later than expires_after"
    EFFECT_SKIPPED = "EFFECT_SKIPPED", "the effect raised Skip"
    # POISONED, or SKIPPED with subject_gone="skip"
    SUBJECT_GONE = "SUBJECT_GONE", "the subject's row is gone"
    # POISONED
    ATTEMPTS_SPENT = "ATTEMPTS_SPENT", "every attempt failed"
    REFUSED = "REFUSED", "the effect raised Poison"
    KILLED_WORKERS = "KILLED_WORKERS", "its worker died again and again"
    TIMED_OUT = "TIMED_OUT", "it ran out of time again and again"
    UNKNOWN_EFFECT = "UNKNOWN_EFFECT", "no worker knows this effect"
    UNREADABLE = "UNREADABLE", "its payload cannot be read"
    SNOOZED_OUT = "SNOOZED_OUT", "it was snoozed for too long"
    STILL_OWED = "STILL_OWED", "succeeded, and still owed"


class Flag:
    """Bits of `Delivery.flags`. Plain ints, because SQL adds and masks them."""

    ALONE = 1  # it died while running: from now on nothing shares its fate
    GROUP = 2  # claimed as one of a harmless group
    VERIFIABLE = 4  # its effect can say what became of a lost run; the rescuer may not know it
    FORGIVEN = 8  # one attempt was given back, because the whole fleet was away
    BEGUN = 16  # it was claimed at least once
    VERIFYING = 32  # what is running is `verify`, not the effect


class Notes:
    """Numbers in `Delivery.notes`: what is rare, by the name it has in the JSON."""

    ROUND = "round"  # how often it began anew: snoozed, reopened, or redriven after its end
    SNOOZED = "snoozed"  # seconds, in all
    VERIFIES = "verifies"  # how often `verify` was asked
    KILLS = "kills"  # workers that died while they ran it alone
    INTERRUPTED = "interrupted"  # attempts given back because the database failed
    REOPENED = "reopened"  # how often it had succeeded, and was owed all the same
    OWED_AGAIN = "owed_again"  # how often it was skipped as not needed, and owed again
    # `verify` or a person found that it did not happen. A random number, new with each finding: who
    # keeps it beside what was sent can tell whether that was found before or after.
    DENIED = "denied"
    ABSENT = "absent"  # 1: that was found, and the effect has not run since
    EDIT = "edit"  # the id of the PayloadEdit that takes the place of the event's payload


def finding() -> dict[str, int]:
    """What is noted when somebody found that it did not happen."""
    return {Notes.DENIED: secrets.randbelow(_MOST_NOTED - 1) + 1, Notes.ABSENT: 1}


def noted(notes: Any, name: str) -> float:
    """The number under *name*; 0 where there is none, or something that we would never write."""
    number = notes.get(name, 0) if isinstance(notes, dict) else 0
    return number if type(number) in (int, float) and 0 <= number < _MOST_NOTED else 0


def noted_edit(notes: Any) -> int | None:
    """
    The id of the edit in force; None where the event's own payload is.

    0, which no row has, for what we would never write: such a note must not pass for none, or what
    a person has corrected would run as it was.
    """
    if not isinstance(notes, dict) or Notes.EDIT not in notes:
        return None
    edit = notes[Notes.EDIT]
    return edit if type(edit) is int and 0 < edit <= _LARGEST_ID else 0


_LARGEST_ID = 2**63 - 1
_MOST_NOTED = 10**9  # in seconds thirty years

# Every move is one guarded UPDATE that says whether it won; what is not here, nothing does.
MOVES: dict[State, dict[State, str]] = {
    State.PENDING: {
        State.RUNNING: "claimed by a worker, attempts + 1",
        State.CANCELLED: "a person cancelled it",
        State.POISONED: "no worker has known its effect for a day",
    },
    State.RUNNING: {
        State.SUCCEEDED: "the effect returned, or verify said that it happened",
        State.SKIPPED: "not needed, expired, or the effect raised Skip",
        State.PENDING: "failed with attempts left, snoozed, released, or rescued",
        State.UNCERTAIN: "sent, answer never seen; or rescued, and its effect can verify",
        State.POISONED: "attempts spent, refused, unreadable, subject gone",
    },
    State.UNCERTAIN: {
        State.RUNNING: "claimed to verify; attempts stay",
        State.PENDING: "redriven by a person, or settled by one: it did not happen",
        State.SUCCEEDED: "settled by a person: it happened",
        State.CANCELLED: "a person cancelled it",
        State.POISONED: "no worker has known its effect for a day",
    },
    State.SUCCEEDED: {
        State.PENDING: "still owed, and its owed query says reopen=True",
        State.UNCERTAIN: "the same, and its effect can verify",
        State.POISONED: "still owed after it was reopened for the last time",
    },
    State.SKIPPED: {
        State.PENDING: "redriven by a person, promised again, or found to be owed again",
    },
    State.CANCELLED: {
        State.PENDING: "redriven by a person, or the debt was promised again",
    },
    State.POISONED: {
        State.PENDING: "redriven, its effect is known again, or its lost event was made up",
        State.UNCERTAIN: "the same two, and its effect can be asked what became of it",
        State.CANCELLED: "a person gave it up",
    },
}

_REOPENED_BY_CODE = (State.RUNNING, State.SUCCEEDED)  # into PENDING, and by nobody else
REDRIVABLE = tuple(s for s in State if State.PENDING in MOVES[s] and s not in _REOPENED_BY_CODE)
SETTLEABLE = (State.UNCERTAIN,)  # by a person who has found out what happened
ANEW = (State.PENDING, *REDRIVABLE)  # what may be begun anew, under another key
CANCELLABLE = tuple(s for s in State if State.CANCELLED in MOVES[s])
