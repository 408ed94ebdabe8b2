"""Killed midway, two at once, one bad row: nothing is lost and nothing is done twice."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter

import pytest
from django.db import connections

from reliable_effects import signals
from reliable_effects.console.redriving import operations, steps
from reliable_effects.console.redriving.models import OperationState, RedriveItem, RedriveOperation
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from tests.faults.locks import nobody_holds_a_lock
from tests.outbox.conftest import an_event, listening, poisoned_delivery, runs_of, write_down
from tests.sweeps.conftest import refusing
from tests.waiting import eventually

from .conftest import begun, later, outcomes, released, seen, swept, work

pytestmark = pytest.mark.django_db(transaction=True)


def pills(count, of="shop.wrap"):
    event = an_event()
    return [poisoned_delivery(of, event=event) for _ in range(count)]


def rounds() -> list[int]:
    """How often each delivery was redriven: each begins a round of its own."""
    notes = Delivery.objects.order_by("pk").values_list("notes", flat=True)
    return [(each or {}).get("round", 0) for each in notes]


def to_the_end(operation: RedriveOperation) -> None:
    for turn in range(20):
        with later(10 * turn):
            swept()
            work()
        if seen(operation).ended_at is not None:
            return
    raise AssertionError(f"{operation.get_state_display()} {operation.remark}")


@pytest.mark.parametrize(("place", "out"), [("gathering", 0), ("releasing", 0), ("released", 2)])
def test_a_sweeper_killed_midway_loses_and_repeats_nothing(make_effect, place, out):
    """SIGKILL, before the commit and after it."""
    rows = pills(6, of=make_effect(write_down))
    operation = begun()
    died = subprocess.run(
        [sys.executable, "-m", "tests.console.redriving.killed", place, str(operation.pk)],
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert died.returncode == -9, died.stderr.decode()
    eventually(nobody_holds_a_lock, within=60)
    assert Delivery.objects.filter(state=State.PENDING).count() == out
    assert len(released(operation)) == out

    to_the_end(operation)

    assert seen(operation).succeeded == operation.gathered == 6
    assert [runs_of(row) for row in rows] == [1] * 6
    assert rounds() == [1] * 6


def test_an_error_between_the_release_and_the_commit_takes_both_back(monkeypatch):
    """The deliveries and that they were released are written together."""
    pills(4)
    operation = begun()
    steps.step("default", operation.pk)

    def fail(*_: object, **__: object) -> None:
        raise OSError("no more files")

    with monkeypatch.context() as patched, listening(signals.delivery_redriven) as told:
        patched.setattr(RedriveOperation, "save", fail)
        swept()
    assert not released(operation)
    assert not told
    assert Delivery.objects.filter(state=State.POISONED).count() == 4

    to_the_end(operation)
    assert rounds() == [1] * 4


def test_two_sweepers_never_take_one_step_twice():
    """Each finds the turn of the other over, or waits for it."""
    pills(60)
    operation = begun(canary=60, rate=6000)
    ready = threading.Barrier(2)
    failed: list[BaseException] = []

    def sweep() -> None:
        try:
            ready.wait(10)
            for _ in range(10):
                steps.step("default", operation.pk)
        except BaseException as error:  # noqa: BLE001  # told by the test
            failed.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=sweep) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert not failed
    assert seen(operation).gathered == 60
    assert operation.released == 60
    assert RedriveItem.objects.count() == 60
    assert rounds() == [1] * 60


def test_a_pause_and_a_step_at_the_same_moment_both_count():
    """The pause waits for the step to end; the step does not write over it."""
    pills(8)
    operation = begun(canary=8)
    steps.step("default", operation.pk)
    inside, go = threading.Event(), threading.Event()
    save = RedriveOperation.save

    def slow_save(row: RedriveOperation, *arguments: object, **options: object) -> None:
        inside.set()
        go.wait(10)
        save(row, *arguments, **options)  # type: ignore[arg-type]

    def step() -> None:
        RedriveOperation.save = slow_save  # type: ignore[assignment,method-assign]
        try:
            steps.step("default", operation.pk)
        finally:
            RedriveOperation.save = save  # type: ignore[method-assign]
            connections.close_all()

    won: list[bool] = []

    def pause() -> None:
        won.append(operations.pause(RedriveOperation.objects.get(pk=operation.pk), by="b", why="w"))
        connections.close_all()

    stepping, pausing = threading.Thread(target=step), threading.Thread(target=pause)
    stepping.start()
    assert inside.wait(10)
    pausing.start()
    go.set()
    stepping.join(20)
    pausing.join(20)

    assert won == [True]
    assert seen(operation).state == OperationState.PAUSED
    assert operation.released == len(released(operation)) == 8


def test_one_bad_row_stays_behind_alone():
    """The database refuses it, and takes the others."""
    rows = pills(6)
    bad = rows[2]
    operation = begun(canary=6)

    with refusing("reliable_effects_delivery", "UPDATE", f"OLD.id = {bad.pk}"):
        swept()

    assert released(operation) == {row.pk for row in rows} - {bad.pk}
    assert seen(operation).left_alone == 1
    assert "refused" in RedriveItem.objects.get(delivery=bad).remark


def test_a_row_that_is_gone_by_then_stops_nothing():
    """Pruned, or deleted by hand."""
    rows = pills(3)
    operation = begun(canary=3)
    steps.step("default", operation.pk)
    Delivery.objects.filter(pk=rows[0].pk).delete()

    to_the_end(operation)

    assert Counter(outcomes(operation).values()).most_common(1)[0][1] == 2
    assert "no longer" in RedriveItem.objects.get(delivery_id=rows[0].pk).remark


def test_an_operation_that_fails_never_stops_the_others():
    """Its own row is damaged; the next in line goes on."""
    pills(2)
    bad, good = begun(), begun()
    with refusing("reliable_effects_redriveoperation", "UPDATE", f"OLD.id = {bad.pk}"):
        assert swept().truncated  # which is alerted on, when it lasts

    assert seen(good).released == 2
    assert seen(bad).gathered == 0
