"""From the click to the last outcome: frozen, ramped, halted, resumed; each exactly once."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from reliable_effects import signals
from reliable_effects.clock import DbNow
from reliable_effects.console.redriving import gathering, operations, steps
from reliable_effects.console.redriving.models import (
    OperationState,
    Outcome,
    RedriveItem,
    RedriveOperation,
)
from reliable_effects.console.redriving.selection import Selection
from reliable_effects.outbox import remedy
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from reliable_effects.watch.rules import ask
from tests.outbox.conftest import (
    IN_STATE,
    an_event,
    cancelled_delivery,
    carry_out,
    listening,
    poisoned_delivery,
    raising,
    uncertain_delivery,
)

from .conftest import begun, later, outcomes, released, seen, swept, work

pytestmark = pytest.mark.django_db


def pills(count: int, of="shop.wrap") -> list[Delivery]:
    event = an_event()
    return [poisoned_delivery(of, event=event) for _ in range(count)]


def state_of(row: Delivery) -> State:
    return State(Delivery.objects.get(pk=row.pk).state)


# What is taken


def test_all_of_the_selection_is_redriven_and_nothing_else(django_capture_on_commit_callbacks):
    """And the operation tells, in the end, what became of each."""
    rows = pills(7)
    others = [make() for state, make in IN_STATE.items() if state != State.POISONED]
    stood = {row.pk: row.state for row in others}
    operation = begun()

    with (
        listening(signals.delivery_redriven) as told,
        django_capture_on_commit_callbacks(execute=True),
    ):
        for turn in range(12):
            with later(10 * turn):
                swept()
                carry_out(*(row for row in rows if state_of(row) == State.PENDING))

    assert seen(operation).state == OperationState.DONE
    assert (operation.gathered, operation.released, operation.succeeded) == (7, 7, 7)
    assert sorted(each["delivery_id"] for each in told) == [row.pk for row in rows]
    assert set(outcomes(operation).values()) == {Outcome.SUCCEEDED}
    assert {row.pk: Delivery.objects.get(pk=row.pk).state for row in others} == stood


def test_what_fails_after_it_was_asked_for_is_not_taken():
    """Nobody has seen it in the preview."""
    before = poisoned_delivery(finished_at=DbNow() - timedelta(seconds=1))
    operation = begun()
    after = poisoned_delivery(finished_at=DbNow() + timedelta(seconds=1))

    swept()

    assert outcomes(operation).keys() == {before.pk}
    assert state_of(after) == State.POISONED


def test_what_became_uncertain_after_it_was_asked_for_is_not_taken():
    """It has no end; its last attempt tells."""
    before, after = uncertain_delivery(look_at=None), uncertain_delivery(look_at=None)
    before.attempt_rows.create(number=1, outcome="uncertain", ended_at=DbNow() - timedelta(hours=1))
    after.attempt_rows.create(number=1, outcome="uncertain", ended_at=DbNow() + timedelta(hours=1))

    operation = begun(Selection.of_query({"state": ["uncertain"]}))
    swept()

    assert outcomes(operation).keys() == {before.pk}


def test_what_a_person_cancels_meanwhile_stays_cancelled():
    """Their word is newer than the operation's."""
    rows = pills(5)
    operation = begun(Selection.of_ids(row.pk for row in rows))
    swept()
    last = rows[-1]
    with later(1):
        remedy.cancel(remedy.of("default", [last.pk]), by="bob", why="refunded")

    with later(5):
        work()
    for turn in range(2, 8):
        with later(5 * turn):
            swept()
            work()

    assert state_of(last) == State.CANCELLED
    assert outcomes(operation)[last.pk] == Outcome.LEFT_ALONE
    assert "after this was asked for" in RedriveItem.objects.get(delivery=last).remark
    assert seen(operation).state == OperationState.DONE


def test_gathering_goes_on_where_it_was_and_takes_each_once(monkeypatch):
    """A chunk at a time, also over several states."""
    monkeypatch.setattr(gathering, "CHUNK", 3)
    rows = [*pills(4), cancelled_delivery(), *pills(3), uncertain_delivery(look_at=None)]
    operation = begun(Selection.of_ids(row.pk for row in rows))
    turns = 0
    while seen(operation).state == OperationState.GATHERING:
        steps.step("default", operation.pk)
        turns += 1
        assert turns < 50

    assert turns > 4
    assert outcomes(operation).keys() == {row.pk for row in rows}
    assert seen(operation).gathered == len(rows)


def test_a_selection_that_this_release_cannot_read_halts_it():
    """And says why; the others go on."""
    pills(1)
    bad, good = begun(), begun()
    RedriveOperation.objects.filter(pk=bad.pk).update(selection={"filters": {"state": "gone"}})

    swept()

    assert seen(bad).state == OperationState.HALTED
    assert "'gone'" in bad.remark
    assert seen(good).released == 1


# The ramp


def test_the_canary_ends_before_anything_follows():
    """Two of them, and then four at once."""
    pills(9)
    operation = begun()

    swept()
    assert len(released(operation)) == 2
    with later():
        swept()
    assert len(released(operation)) == 2
    work()
    with later(10):
        swept()

    assert len(released(operation)) == 6
    assert seen(operation).pace == 4


def test_it_halts_by_itself_when_too_many_fail_and_says_which(make_effect):
    """Redriven, they would only fail again; attempts that are left are tried all the same."""
    failing = make_effect(raising(ConnectionError("no <b>bank</b>")), max_attempts=5)
    rows = pills(20, of=failing)
    operation = begun(canary=6)

    swept()
    work()
    with later():
        swept()
    with later(10):
        swept()

    assert seen(operation).state == OperationState.HALTED
    assert "6 of the last 6 failed: builtins.ConnectionError (6)" in operation.remark
    assert len(released(operation)) == 6
    assert operation.failing == 6
    (told,) = ask("redrive_halted", SimpleNamespace(alias="default"))
    assert "14 left" in told.text
    assert sum(state_of(row) == State.POISONED for row in rows) == 14


def test_few_failures_do_not_halt_it(make_effect):
    """One in five is under the threshold."""
    calls = iter(range(100))

    def sometimes(*_):
        if next(calls) % 5 == 0:
            raise ConnectionError

    pills(10, of=make_effect(sometimes))
    operation = begun(canary=5)
    for turn in range(12):
        with later(10 * turn):
            swept()
            work()

    assert seen(operation).state in (OperationState.RUNNING, OperationState.DONE)
    assert operation.released == 10


def test_resumed_after_a_halt_it_begins_with_a_canary(make_effect):
    """What is said to be mended is tried with a few."""
    broken = [True]

    def effect(*_):
        if broken:
            raise ConnectionError

    pills(40, of=make_effect(effect, max_attempts=1))
    operation = begun(canary=5)
    swept()
    work()
    with later():
        swept()
    assert seen(operation).state == OperationState.HALTED

    broken.clear()
    assert operations.resume(operation, by="bob", why="mended")
    with later(10):
        swept()
    assert operation.state == OperationState.RUNNING
    assert len(released(operation)) == 10
    with later(10):
        work()
    with later(20):
        swept()

    assert seen(operation).state == OperationState.RUNNING
    assert operation.pace == 10
    assert len(released(operation)) == 20
    told = " ".join(words for _, words in operation.history)
    assert "resumed by bob: mended" in told


def test_paused_it_releases_nothing_and_still_tells_what_became_of_the_others():
    """What was released runs on."""
    pills(9)
    operation = begun()
    swept()

    assert operations.pause(operation, by="bob", why="wait")
    work()
    with later():
        swept()
    assert len(released(operation)) == 2
    assert seen(operation).succeeded == 2
    assert operations.resume(operation, by="bob", why="go")
    with later(10):
        swept()

    assert len(released(operation)) == 6


def test_paused_while_it_gathers_it_goes_on_with_that():
    pills(3)
    operation = begun()
    assert operations.pause(operation, by="bob", why="wait")
    swept()
    assert not outcomes(operation)

    assert operations.resume(operation, by="bob", why="go")
    swept()

    assert seen(operation).gathered == 3


def test_cancelled_it_leaves_the_rest_as_it_was():
    """And ends, when what was released has ended."""
    rows = pills(9)
    operation = begun()
    swept()

    assert operations.cancel(operation, by="bob", why="wrong ones")
    assert not operations.resume(operation, by="bob", why="no")
    with later():
        swept()
    assert seen(operation).ended_at is None
    work()
    with later(10):
        swept()

    assert seen(operation).state == OperationState.CANCELLED
    assert operation.ended_at is not None
    assert operation.succeeded == 2
    assert sum(state_of(row) == State.POISONED for row in rows) == 7


def test_where_nothing_ends_it_waits_and_asks_whether_it_is_paused():
    """More would only wait beside them."""
    pills(9)
    operation = begun()
    swept()

    with later(15 * 60):
        swept()

    assert len(released(operation)) == 2
    assert "paused" in seen(operation).remark


def test_the_rate_is_kept():
    """Six in a minute is one in ten seconds."""
    pills(60)
    operation = begun(rate=6)
    for turn in range(25):
        with later(5 * turn):
            swept()
            work()

    assert 10 <= len(released(operation)) <= 16


def test_a_clock_that_was_put_back_stops_nothing():
    """The instants that it has written lie ahead; nobody waits until the clock has caught up."""
    pills(12)
    operation = begun(rate=6)
    with later(24 * 60 * 60):
        swept()
        work()
    assert len(released(operation)) == 2

    for turn in range(6):
        with later(10 * turn):
            swept()
            work()

    assert seen(operation).succeeded >= 4
    assert len(released(operation)) <= 2 + 6 + 2


def test_what_is_left_alone_keeps_nobody_waiting():
    """A colleague was quicker with the first thousand."""
    rows = pills(30)
    operation = begun()
    steps.step("default", operation.pk)
    remedy.redrive(remedy.of("default", [row.pk for row in rows[:28]]), by="bob", why="first")

    for _ in range(16):  # at one moment: nothing of the rate is spent
        steps.step("default", operation.pk)

    assert seen(operation).left_alone == 28
    assert released(operation) == {row.pk for row in rows[28:]}


def test_halted_ones_of_long_ago_keep_no_other_waiting(monkeypatch):
    """They stay until a person decides."""
    monkeypatch.setattr(steps, "_AT_ONCE", 2)
    pills(2)
    for _ in range(5):
        old = begun(Selection.of_ids([1]))
        RedriveOperation.objects.filter(pk=old.pk).update(state=OperationState.HALTED)
    operation = begun()

    swept()

    assert seen(operation).released == 2


def test_an_operation_about_nothing_is_done():
    operation = begun()
    for _ in range(3):
        swept()

    assert seen(operation).state == OperationState.DONE


def test_after_a_day_nobody_waits_for_what_still_fails(make_effect):
    """Its attempts go on for a week; the operation says how many it lost sight of."""
    pills(3, of=make_effect(raising(ConnectionError())))
    operation = begun(canary=3)
    swept()
    work()
    with later():
        swept()
    assert seen(operation).ended_at is None

    with later(25 * 3600):
        swept()

    assert seen(operation).state == OperationState.DONE
    assert "3 are still under way" in operation.remark
