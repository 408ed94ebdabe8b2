"""A failure that was fixed, and is there again: told from what old workers still poison."""

from __future__ import annotations

from typing import Any

import pytest

from reliable_effects.clock import DbNow
from reliable_effects.console.groups import coming_back, triage
from reliable_effects.console.groups.kinds import Pill
from reliable_effects.console.groups.models import MOST_RELEASES, FailureGroup
from reliable_effects.console.groups.states import GROUP_MOVES, GroupState
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import Reason
from tests.console.groups.conftest import grouped, pill, the_group
from tests.outbox.conftest import poisoned_delivery

pytestmark = pytest.mark.django_db


def fixed_in(release: str) -> None:
    """Seen in v1, and said to be mended."""
    pill(attempt={"release": "v1"})
    grouped()
    triage.mark_fixed(FailureGroup.objects.all(), release=release, by="ada")


def fails_in(release: str, **columns: Any) -> Delivery:
    row = pill(attempt={"release": release})
    Delivery.objects.filter(pk=row.pk).update(**{"finished_at": DbNow()} | columns)
    grouped()
    return row


@pytest.mark.parametrize("release", ["v2", "v3"])
def test_a_failure_in_the_release_that_mends_it_brings_it_back(release, caplog):
    """Or in a later one, which nobody has seen yet."""
    fixed_in("v2")

    fails_in(release)

    group = the_group()
    assert group.state == GroupState.CAME_BACK
    assert group.came_back_at is not None
    assert (group.fixed_in, group.last_release) == ("v2", release)
    assert "came back" in caplog.text


def test_what_old_workers_still_poison_brings_nothing_back():
    """After a deploy they drain for minutes."""
    fixed_in("v2")

    fails_in("v1")

    assert the_group().state == GroupState.FIXED
    assert the_group().pills == 2


def test_what_ended_before_it_was_marked_brings_nothing_back():
    """The sweep was away, and finds it only now."""
    fixed_in("v2")

    fails_in("v2", finished_at="2020-01-01T00:00Z")

    assert the_group().state == GroupState.FIXED


def test_where_no_release_is_known_every_failure_brings_it_back():
    """Nobody can tell old workers from new ones: better told once too often than never."""
    fixed_in("v2")

    fails_in("")

    assert the_group().state == GroupState.CAME_BACK


def test_what_was_set_aside_without_an_attempt_comes_back_too():
    """It has no release at all."""
    poisoned_delivery(effect="gone", reason=Reason.UNKNOWN_EFFECT)
    grouped()
    triage.mark_fixed(FailureGroup.objects.all(), release="v2", by="ada")

    poisoned_delivery(effect="gone", reason=Reason.UNKNOWN_EFFECT)
    grouped()

    assert FailureGroup.objects.get().state == GroupState.CAME_BACK


@pytest.mark.parametrize("state", [GroupState.NEW, GroupState.ACKNOWLEDGED])
def test_only_what_was_fixed_comes_back(state):
    """A new failure of what is known says nothing new."""
    pill()
    grouped()
    FailureGroup.objects.update(state=state)

    fails_in("v2")

    assert the_group().state == state


def test_it_remembers_the_latest_releases_only():
    """A project that deploys ten times a day."""
    group = FailureGroup(releases=[f"v{number}" for number in range(MOST_RELEASES)])

    known = coming_back.releases_after(group, [Pill(1, None, "v0"), Pill(2, None, "new")])

    assert len(known) == MOST_RELEASES
    assert known[-2:] == ["v0", "new"]
    assert known[0] == "v2"


# What people say

SAY = {
    GroupState.ACKNOWLEDGED: lambda rows: triage.acknowledge(rows, by="ada", note="the courier"),
    GroupState.FIXED: lambda rows: triage.mark_fixed(rows, release="v2", by="ada"),
    GroupState.NEW: lambda rows: triage.reopen(rows, by="ada"),
}


@pytest.mark.parametrize("state", GroupState)
@pytest.mark.parametrize("to", SAY)
def test_a_person_moves_what_the_table_allows(state, to):
    """What is left alone says why, beforehand."""
    pill()
    grouped()
    FailureGroup.objects.update(state=state)

    changed = SAY[to](FailureGroup.objects.all())

    allowed = to in GROUP_MOVES[state]
    assert bool(changed) == allowed
    assert the_group().state == (to if allowed else state)
    assert (state in triage.LEFT_ALONE[to]) == (not allowed)


def test_what_is_reopened_is_as_new():
    """A note of last year misleads."""
    pill()
    grouped()
    for say in (GroupState.ACKNOWLEDGED, GroupState.FIXED, GroupState.NEW):
        SAY[say](FailureGroup.objects.all())

    group = the_group()
    assert (group.owner, group.note, group.fixed_in) == ("", "", "")
    assert (group.acknowledged_at, group.fixed_at, group.came_back_at) == (None, None, None)


def test_a_group_that_somebody_moved_meanwhile_is_left():
    """Two people, one page each; the second is told that nothing was changed."""
    pill()
    grouped()
    rows = FailureGroup.objects.all()

    class ReopenedMeanwhile(type(rows)):
        def __iter__(self):
            for row in super().__iter__():
                FailureGroup.objects.update(state=GroupState.FIXED)
                yield row

    changed = SAY[GroupState.ACKNOWLEDGED](ReopenedMeanwhile(FailureGroup).all())

    assert changed == []
    assert the_group().state == GroupState.FIXED


def test_to_be_fixed_it_needs_a_release():
    """Without one, nobody could tell whether it has come back."""
    with pytest.raises(ValueError, match="name the release"):
        triage.mark_fixed(FailureGroup.objects.all(), release=" ", by="ada")
