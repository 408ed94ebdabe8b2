"""How people stand to a group of failures, and every legal move between."""

from __future__ import annotations

from django.db.models import IntegerChoices


class GroupState(IntegerChoices):
    """What people have said of a group. How many pills it has is another matter."""

    NEW = 0, "new"
    ACKNOWLEDGED = 1, "acknowledged"
    FIXED = 2, "fixed"
    CAME_BACK = 3, "came back"


# Every move is one guarded UPDATE that says whether it won; what is not here, nothing does.
GROUP_MOVES: dict[GroupState, dict[GroupState, str]] = {
    GroupState.NEW: {
        GroupState.ACKNOWLEDGED: "a person looks after it",
        GroupState.FIXED: "a person says which release mends it",
    },
    GroupState.ACKNOWLEDGED: {
        GroupState.ACKNOWLEDGED: "another person looks after it, or there is more to say",
        GroupState.FIXED: "a person says which release mends it",
        GroupState.NEW: "reopened by a person",
    },
    GroupState.FIXED: {
        GroupState.CAME_BACK: "it failed again, in the release that mends it or a later one",
        GroupState.NEW: "reopened by a person",
    },
    GroupState.CAME_BACK: {
        GroupState.ACKNOWLEDGED: "a person looks after it",
        GroupState.FIXED: "a person says which release mends it",
        GroupState.NEW: "reopened by a person",
    },
}


def leading_to(state: GroupState) -> tuple[GroupState, ...]:
    """Where a move to *state* may begin."""
    return tuple(start for start, ends in GROUP_MOVES.items() if state in ends)
