"""Two sweeps at once, each with a connection of its own: they do each other's work, and no harm."""

from __future__ import annotations

import threading

import pytest
from django.db import connections

from reliable_effects.console.rollups.models import QueueRollup, RollupCursor
from reliable_effects.console.rollups.sweep import rollup
from tests.console.rollups.conftest import counted, emitted, ended, failed
from tests.outbox.conftest import pending_delivery

pytestmark = pytest.mark.django_db(transaction=True)

SWEEPS = 3


def all_at_once() -> None:
    gate = threading.Barrier(SWEEPS)
    problems: list[BaseException] = []

    def sweep() -> None:
        try:
            gate.wait(30)
            rollup("default")
        except BaseException as error:  # noqa: BLE001  # told below, in the thread of the test
            problems.append(error)
        finally:
            connections["default"].close()

    threads = [threading.Thread(target=sweep) for _ in range(SWEEPS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not problems
    assert not any(thread.is_alive() for thread in threads)


def test_sweeps_at_once_count_each_thing_once(counted_to):
    """The cursor's lock is what they share."""
    counted_to()
    for minutes in (10, 20, 30, 40):
        ended(minutes)
        emitted(minutes)
        failed(minutes)

    all_at_once()

    assert [counted(column) for column in ("succeeded", "emitted", "failed")] == [
        {"shop.wrap": 4}
    ] * 3


def test_first_sweeps_at_once_begin_together():
    """None of them falls over the row of another, and each queue has one row."""
    pending_delivery()

    all_at_once()

    assert RollupCursor.objects.count() == 1
    assert [row.due for row in QueueRollup.objects.filter(queue="effects")] == [1]
