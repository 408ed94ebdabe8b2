"""The states of a job, why it is in one, and every legal move between them."""

from __future__ import annotations

from django.db.models import IntegerChoices, TextChoices


class JobState(IntegerChoices):
    """Where a job stands. "Due" is WAITING whose time has come: shown, not stored."""

    WAITING = 0, "waiting"
    BLOCKED = 1, "blocked"
    DONE = 2, "done"
    CANCELLED = 3, "cancelled"
    MISSED = 4, "missed"


OPEN = (JobState.WAITING, JobState.BLOCKED)  # has not ended, and holds its key
FORGETTABLE = (JobState.DONE, JobState.CANCELLED)  # what may be pruned, one day


class JobReason(TextChoices):
    """Why a job is BLOCKED."""

    NONE = "", ""
    UNKNOWN_EVENT = "UNKNOWN_EVENT", "this release does not know its event or its model"
    SUBJECT_GONE = "SUBJECT_GONE", "the subject's row is gone"
    UNREADABLE = "UNREADABLE", "its payload cannot be read"
    FAILED = "FAILED", "the event could not be emitted"


# Every move is one guarded UPDATE that says whether it won; what is not here, nothing does.
JOB_MOVES: dict[JobState, dict[JobState, str]] = {
    JobState.WAITING: {
        JobState.DONE: "its time has come, and its event was emitted",
        JobState.BLOCKED: "its time has come, and its event could not be emitted",
        JobState.MISSED: "it was found later than its late= allows",
        JobState.CANCELLED: "cancelled by the code or a person",
    },
    JobState.BLOCKED: {
        JobState.DONE: "what blocked it has passed, and its event was emitted",
        JobState.MISSED: "it stayed blocked for longer than its late= allows",
        JobState.WAITING: "rescheduled, replaced, or run now by a person",
        JobState.CANCELLED: "cancelled by the code or a person",
    },
    JobState.DONE: {},  # the event is emitted: its deliveries are what can be redriven
    JobState.MISSED: {
        JobState.WAITING: "run now, or rescheduled, by a person",
        JobState.CANCELLED: "a person gave it up",
    },
    JobState.CANCELLED: {},  # scheduled again, it is another job
}
