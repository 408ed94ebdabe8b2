"""Each poison pill finds the group of its likes, and is counted there once."""

from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from reliable_effects.console.groups import grouping
from reliable_effects.console.groups.models import FailureGroup
from reliable_effects.outbox import remedy, sweeps
from reliable_effects.outbox.failures import attempt_row, fingerprint
from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.states import Reason, State
from tests.console.groups.conftest import (
    REFUSED,
    TIMED_OUT,
    fingerprint_of,
    grouped,
    pill,
    the_group,
)
from tests.outbox.conftest import carry_out, pending_delivery, poisoned_delivery, raising
from tests.sweeps.conftest import at_once, locked, refusing

pytestmark = pytest.mark.django_db

for_real = pytest.mark.django_db(transaction=True)


def test_equal_failures_are_one_group():
    """Three thousand pills of one bug are one thing to look at."""
    first, *others = [pill() for _ in range(3)]
    other = pill(TIMED_OUT)

    swept = grouped()

    assert swept.done == 4
    assert {fingerprint_of(row) for row in (first, *others)} == {REFUSED}
    assert fingerprint_of(other) == TIMED_OUT
    group = the_group()
    assert (group.pills, group.total, the_group(TIMED_OUT).pills) == (3, 3, 1)
    assert (group.effect, group.exception_type) == ("shop.wrap", "shop.Refused")
    assert (group.place, group.reason) == ("shop.courier:book", Reason.ATTEMPTS_SPENT)


def test_a_group_says_where_an_effect_failed(make_effect):
    """The hash alone tells nobody which function to open."""

    def refuse(*_):
        raise ValueError("no")

    delivery = pending_delivery(make_effect(refuse, max_attempts=1))

    carry_out(delivery)
    grouped()

    group = FailureGroup.objects.get()
    assert group.place.startswith(f"{__name__}:")
    assert group.place.endswith("refuse")
    assert (group.what, group.sample_message) == ("ValueError", "no")
    assert group.sample_delivery_id == delivery.pk


def test_the_place_changes_no_fingerprint():
    """Rows of the release before this one carry it: theirs and ours must be equal."""
    try:
        raising(ValueError("no"))()
    except ValueError as error:
        row = attempt_row(1, 1, Attempt.Outcome.FAILED, effect="shop.wrap", exception=error)
        known = fingerprint("shop.wrap", error)

    assert row.fingerprint == known
    assert row.place == "tests.outbox.conftest:raising.<locals>.function"


@pytest.mark.parametrize("reason", [Reason.UNKNOWN_EFFECT, Reason.STILL_OWED])
def test_what_was_set_aside_without_an_attempt_is_grouped_by_its_reason(reason):
    """Its last attempt, if it has one, is of another day."""
    rows = [pill(effect="gone", reason=reason) for _ in range(2)]
    rows.append(poisoned_delivery(effect="gone", reason=reason))
    elsewhere = poisoned_delivery(effect="other", reason=reason)

    grouped()

    (shared,) = {fingerprint_of(row) for row in rows}
    assert shared not in ("", REFUSED, fingerprint_of(elsewhere))
    group = the_group(shared)
    assert (group.what, group.exception_type, group.pills) == (reason.label, "", 3)
    assert group.sample_message == ""
    assert group.sample_attempt is None


def test_an_attempt_without_an_exception_is_grouped_by_its_reason():
    """A worker that was killed raised nothing."""
    rows = [pill("", reason=Reason.KILLED_WORKERS) for _ in range(2)]

    grouped()

    assert len({fingerprint_of(row) for row in rows}) == 1
    assert FailureGroup.objects.get().reason == Reason.KILLED_WORKERS


def test_the_last_attempt_says_which_failure_it_is():
    """What went wrong before was mended, or passed."""
    row = pill(TIMED_OUT)
    Attempt.objects.create(delivery=row, number=9, outcome="failed", fingerprint=REFUSED)

    grouped()

    assert fingerprint_of(row) == REFUSED


def test_first_and_last_are_when_its_pills_ended():
    """Not when the sweep came by: that may be hours later."""
    old, new = pill(), pill()
    Delivery.objects.filter(pk=old.pk).update(finished_at="2020-01-01T00:00Z")
    new.refresh_from_db()

    grouped()

    group = the_group()
    assert group.first_seen_at.year == 2020
    assert group.last_seen_at == new.finished_at


def test_what_is_grouped_is_counted_once():
    """The sweep comes twice a minute."""
    pill()

    grouped()
    again = grouped()

    assert (again.done, again.truncated) == (0, False)
    assert (the_group().pills, the_group().total) == (1, 1)


def test_a_group_whose_pills_are_gone_stays_as_history():
    """Whoever meets it again reads what was done the last time."""
    rows = [pill() for _ in range(2)]
    grouped()

    remedy.redrive(remedy.of("default", [rows[0].pk]), by="ada", why="fixed")
    remedy.cancel(remedy.of("default", [rows[1].pk]), by="ada", why="fixed")
    grouped()

    assert (the_group().pills, the_group().total) == (0, 2)


def test_a_pill_that_fails_again_is_counted_again():
    """`total` says how much trouble a bug has made."""
    row = pill()
    grouped()
    remedy.redrive(remedy.of("default", [row.pk]), by="ada", why="perhaps")
    Delivery.objects.filter(pk=row.pk).update(
        state=State.POISONED, reason=Reason.ATTEMPTS_SPENT, look_at=None
    )

    grouped()

    assert (the_group().pills, the_group().total) == (1, 2)


def test_what_the_last_release_poisoned_under_an_old_fingerprint_is_found():
    """N-1 leaves the fingerprint when it redrives; nothing adds that pill to its group again."""
    row = pill()
    grouped()
    Delivery.objects.filter(pk=row.pk).update(state=State.CANCELLED)
    grouped()
    assert the_group().pills == 0
    Delivery.objects.filter(pk=row.pk).update(state=State.POISONED)

    grouped()

    assert the_group().pills == 1


def test_poisoning_says_nothing_of_groups_to_the_database(make_effect):
    """The hot path pays nothing: one UPDATE sets it aside, one INSERT says why."""
    delivery = pending_delivery(make_effect(raising(ValueError("no")), max_attempts=1))
    with CaptureQueriesContext(connection) as asked:
        carry_out(delivery)

    said = [query["sql"] for query in asked if query["sql"].startswith(("UPDATE", "INSERT"))]
    assert delivery.state == State.POISONED
    assert len([sql for sql in said if "\"fingerprint\" = ''" in sql.replace("`", '"')]) == 1
    assert len([sql for sql in said if "reliable_effects_attempt" in sql]) == 1
    assert not [sql for sql in said if "failuregroup" in sql]


def test_the_clock_does_it():
    """Every process that sweeps knows of it."""
    pill()

    swept = sweeps.sweep("default", grouping.GROUPING, now=True)

    assert swept is not None
    assert swept.done == 1


# Unlucky moments


@for_real
def test_a_pill_that_the_database_refuses_keeps_no_other_back():
    """One row that is damaged, in a batch of its likes."""
    rows = [pill() for _ in range(3)]

    with refusing("reliable_effects_delivery", "UPDATE", f"OLD.id = {rows[1].pk}"):
        swept = grouped()

    assert swept.done == 2
    assert [fingerprint_of(row) for row in rows] == [REFUSED, "", REFUSED]
    assert (the_group().pills, the_group().total) == (2, 2)
    grouped()
    assert the_group().pills == 3


@for_real
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks no rows")
def test_a_pill_that_somebody_holds_is_left_for_the_next_turn():
    """A person is redriving it, perhaps; the sweep waits for nobody."""
    held, free = pill(), pill()

    with locked(held):
        grouped()

    assert (fingerprint_of(held), fingerprint_of(free)) == ("", REFUSED)
    grouped()
    assert fingerprint_of(held) == REFUSED
    assert the_group().total == 2


@for_real
def test_two_sweeps_at_once_count_nothing_twice(monkeypatch):
    """Workers take turns, but a turn is no lock."""
    monkeypatch.setattr(grouping, "_BATCH", 7)
    for number in range(40):
        pill(f"{number % 2:032x}")

    swept = at_once(2, grouped)
    swept.append(grouped())  # neither waits for a group that the other holds

    assert sum(each.done for each in swept) == 40
    groups = FailureGroup.objects.order_by("fingerprint")
    assert [(each.pills, each.total) for each in groups] == [(20, 20), (20, 20)]


@for_real
def test_a_pill_that_is_redriven_while_it_is_read_gets_no_fingerprint(monkeypatch):
    """Between the look and the write a person was quicker."""
    row = pill()
    really = grouping.kinds_of

    def redriven_meanwhile(using, ids):
        found = really(using, ids)
        remedy.redrive(remedy.of("default", [row.pk]), by="ada", why="fixed")
        return found

    monkeypatch.setattr(grouping, "kinds_of", redriven_meanwhile)
    swept = grouped()

    assert swept.done == 0
    assert fingerprint_of(row) == ""
    assert not FailureGroup.objects.exists()


def test_a_count_that_is_older_than_a_new_pill_is_not_written():
    """Else a group with a pill would show none, and be counted last of all."""
    pill()
    grouped()
    group = the_group()
    Delivery.objects.update(state=State.CANCELLED, fingerprint="")

    FailureGroup.objects.update(total=2, pills=1)  # another sweep has added one
    grouping.counting._count("default", group)

    assert the_group().pills == 1


def test_what_was_cut_short_goes_on_behind_it(monkeypatch):
    """Bounded in time: the relay waits in the same thread."""
    monkeypatch.setattr(grouping, "_BATCH", 2)
    monkeypatch.setattr(grouping, "_BOUND", -1.0)
    rows = [pill() for _ in range(4)]

    swept = grouped()

    assert swept.truncated
    assert swept.done == 0
    monkeypatch.setattr(grouping, "_BOUND", 2.0)
    swept = grouped()
    assert (swept.done, swept.truncated) == (4, False)
    assert {fingerprint_of(row) for row in rows} == {REFUSED}


def test_releases_that_are_no_list_stop_nothing():
    """Somebody edited the row by hand."""
    pill()
    grouped()
    FailureGroup.objects.update(releases={"not": ["ours"]})
    pill(attempt={"release": "v2"})

    grouped()

    assert the_group().releases == ["v2"]


def test_a_transaction_that_is_open_around_it_is_not_spoiled():
    """Tests of users sweep inside theirs."""
    pill()

    with transaction.atomic():
        grouped()
        assert the_group().pills == 1
