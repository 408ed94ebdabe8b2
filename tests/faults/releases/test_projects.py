"""
Yesterday's and today's release of a project share the rows, whichever of them emits or works.

Between the two an effect was renamed, one removed, one added, and the payload changed its shape.
"""

from __future__ import annotations

import pytest

from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from tests.faults.releases.conftest import look_again, owed
from tests.waiting import eventually

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.one_database,
    pytest.mark.fault("a release runs beside its successor", rows="W10 W11 W12"),
]

OF_YESTERDAY = ("receipt", "charge", "sync")
OF_TODAY = ("receipt", "charge", "loyalty")


def waiting() -> set[tuple[str, int]]:
    """Effect and attempts of what is not done."""
    rows = Delivery.objects.exclude(state=State.SUCCEEDED)
    return set(rows.values_list("effect", "attempts"))


def put_off() -> bool:
    """Seen by a worker that cannot do it, each of them."""
    rows = Delivery.objects.exclude(state=State.SUCCEEDED).values_list("state", "notes")
    return all(state == State.PENDING and "unknown_since" in (notes or {}) for state, notes in rows)


def done_by_both() -> bool:
    """What one release has put off for a minute, the other need not wait for."""
    look_again()
    return not waiting()


def judge(evidence, outside, expected) -> None:
    verdict = outside.judge(expected)
    evidence.judged(verdict, strikes=len(expected))
    assert (verdict.extra_runs, verdict.other_keys) == (0, 0)


def test_todays_promises_wait_for_todays_workers(worker, place, outside, evidence):
    """Web first: the workers of yesterday spend nothing on what they cannot know."""
    orders = place("today", 4)
    with worker("yesterday"):
        eventually(put_off, within=40)
        # The receipts too: their payload is of a later version.
        assert waiting() == {
            ("release.receipt", 0),
            ("release.charge_card", 0),
            ("release.loyalty", 0),
        }

    look_again()
    with worker("today"):
        eventually(lambda: not waiting(), within=40)

    assert set(Delivery.objects.values_list("attempts", flat=True)) == {1}
    judge(evidence, outside, owed(orders, *OF_TODAY))


def test_yesterdays_promises_are_kept_by_todays_workers(worker, place, outside, evidence):
    """Workers first: old names and payloads are understood; what was removed waits for its code."""
    orders = place("yesterday", 4)
    with worker("today"):
        eventually(lambda: waiting() == {("release.sync_with_the_old_crm", 0)}, within=40)
        eventually(put_off, within=20)

    look_again()
    with worker("yesterday"):
        eventually(lambda: not waiting(), within=40)

    judge(evidence, outside, owed(orders, *OF_YESTERDAY))


def test_both_releases_at_work_do_everything_once(worker, place, outside, evidence):
    """The middle of a deploy, in any order of web and workers."""
    with worker("yesterday"), worker("today"):
        old, new = place("yesterday", 10), place("today", 10)
        eventually(done_by_both, within=60)

    judge(evidence, outside, owed(old, *OF_YESTERDAY) | owed(new, *OF_TODAY))


@pytest.mark.parametrize("releases", [("yesterday", "today"), ("today", "yesterday")], ids=str)
def test_a_rename_makes_no_debt_a_new_one(releases, worker, web, outside, evidence):
    """
    Owed under one name and promised again under the other: one row, one key, one charge.

    What was never begun moves to the newer promise, and so to a release that can read it.
    """
    first, second = releases
    orders = {line.split()[1] for line in web(first, "place", "3") if "committed" in line}
    web(second, "owe")
    with worker("yesterday"), worker("today"):
        eventually(done_by_both, within=40)
    told = web(second, "owe")

    assert sum("already promised ('release.charge" in line for line in told) == 3
    assert Delivery.objects.filter(effect__startswith="release.charge").count() == 3
    judge(evidence, outside, owed(orders, *(OF_TODAY if first == "today" else OF_YESTERDAY)))
