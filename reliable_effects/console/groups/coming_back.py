"""
Whether a failure that was fixed has come back, by the releases in which it was seen.

After a deploy old workers drain for a while, and what they still poison says nothing of the fix. So
only a pill of the release that is said to mend it counts, or of one that the group has never seen.
"""

from __future__ import annotations

from collections.abc import Sequence

from .kinds import Pill
from .models import MOST_RELEASES, FailureGroup
from .states import GroupState


def has_come_back(group: FailureGroup, pills: Sequence[Pill]) -> bool:
    """Whether one of *pills*, new in *group*, says that it is not fixed after all."""
    if group.state != GroupState.FIXED or group.fixed_at is None:
        return False
    seen = _seen(group)
    return any(
        pill.ended_at is not None
        and pill.ended_at >= group.fixed_at
        and _is_mended_in(pill.release, group.fixed_in, seen)
        for pill in pills
    )


def _is_mended_in(release: str, fixed_in: str, seen: Sequence[str]) -> bool:
    # Of a worker without RELEASE nobody knows: to be told once too often is better than never.
    return not release or release == fixed_in or release not in seen


def releases_after(group: FailureGroup, pills: Sequence[Pill]) -> list[str]:
    """The releases in which *group* was seen, those of *pills* last; the oldest are forgotten."""
    new = dict.fromkeys(pill.release for pill in pills if pill.release)
    kept = [release for release in _seen(group) if release not in new]
    return [*kept, *new][-MOST_RELEASES:]


def _seen(group: FailureGroup) -> list[str]:
    known = group.releases if isinstance(group.releases, list) else []
    return [release for release in known if isinstance(release, str)]
