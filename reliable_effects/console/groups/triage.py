"""What a person may say of groups of failures. None of it touches a pill."""

from __future__ import annotations

import logging
from typing import Any

from django.db.models import QuerySet

from ...clock import DbNow
from .models import FailureGroup
from .states import GroupState, leading_to

logger = logging.getLogger("reliable_effects")

Groups = QuerySet[FailureGroup]


def acknowledge(rows: Groups, *, by: str, note: str) -> list[FailureGroup]:
    """*by* looks after *rows*, and *note* says how. Gives those that were changed."""
    said = {"owner": by[:150], "note": note, "acknowledged_at": DbNow()}
    return _move(rows, GroupState.ACKNOWLEDGED, by, **said)


def mark_fixed(rows: Groups, *, release: str, by: str) -> list[FailureGroup]:
    """
    *release* mends *rows*: when it fails there all the same, they have come back.

    Raises:
        ValueError: *release* is empty, so nobody could tell whether they have.
    """
    if not release.strip():
        raise ValueError("release= is empty; name the release that mends it.")
    said = {"fixed_in": release.strip()[:100], "fixed_at": DbNow(), "came_back_at": None}
    return _move(rows, GroupState.FIXED, by, **said)


def reopen(rows: Groups, *, by: str) -> list[FailureGroup]:
    """As if nobody had said anything of *rows*; the admin's history knows what was said."""
    nothing = {"owner": "", "note": "", "fixed_in": ""}
    never = dict.fromkeys(("acknowledged_at", "fixed_at", "came_back_at"))
    return _move(rows, GroupState.NEW, by, **nothing, **never)


def _move(rows: Groups, to: GroupState, by: str, **values: Any) -> list[FailureGroup]:
    """Each by a guarded UPDATE of its own: people choose few, and say of each whether it won."""
    allowed = rows.filter(state__in=leading_to(to))
    changed = [
        group
        for group in allowed.order_by("pk")
        if allowed.filter(pk=group.pk, state=group.state).update(state=to, **values) == 1
    ]
    for group in changed:
        logger.info("%s: %s by=%r", to.label, group, by)
    return changed


LEFT_ALONE = {
    GroupState.ACKNOWLEDGED: {GroupState.FIXED: "it is marked as fixed; reopen it first"},
    GroupState.FIXED: {GroupState.FIXED: "it is marked as fixed; reopen it first"},
    GroupState.NEW: {GroupState.NEW: "it is new"},
}
"""Why a group is left where it is, by where it was to go and where it stands."""
