"""
A project's own acknowledgement and prefetch settings, which are about its own tasks.

Whatever they say, nothing runs twice without a crash, and nothing is lost with one: the message is
a hint, and comes back or does not.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import eventually

from . import innocents
from .conftest import Worker, celery_worker_on
from .courts import Court, all_slots_work

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.one_database,  # the first is PostgreSQL
]

SLOTS = 2


def settings(*, late: bool, on_lost: bool, prefetch: int) -> str:
    return json.dumps(
        {
            "task_acks_late": late,
            "task_reject_on_worker_lost": on_lost,
            "worker_prefetch_multiplier": prefetch,
        }
    )


ALL = [
    settings(late=late, on_lost=on_lost, prefetch=prefetch)
    for late, on_lost in ((True, True), (True, False), (False, False))
    for prefetch in (1, 4)
]


@pytest.fixture
def start(broker, tmp_path: Path):
    broker.wipe()

    @contextmanager
    def start(conf: str, *options: str) -> Iterator[Worker]:
        with celery_worker_on(broker, tmp_path, *options, TEST_CELERY=conf) as worker:
            yield worker

    return start


def hold_up(start, outside, evidence, conf: str) -> None:
    court = Court(outside, strikes=1)
    with start(conf) as worker:
        court.promise(each=15)
        court.owe(innocents.nap, 4)
        eventually(court.ended, within=40)
        assert court.runs().total() == len(court.words), "something ran twice, and nothing crashed"

        crashed = Court(outside, strikes=1)
        crashed.owe(innocents.nap, 6)
        eventually(lambda: crashed.runs().total() >= SLOTS, within=20)
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(10)
        begun = crashed.runs().total()
    with start(conf):
        eventually(crashed.ended, within=60)
        all_slots_work(outside, SLOTS)
    court.judge(evidence)
    crashed.judge(evidence)
    assert crashed.runs().total() - len(crashed.words) <= min(begun, SLOTS)


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
@pytest.mark.fault("a worker is killed where the project acknowledges late", rows="W1 W4")
def test_late_acks_neither_lose_nor_repeat(start, outside, evidence):
    """The commonest way to configure Celery for safety; with four messages in reserve for each."""
    hold_up(start, outside, evidence, settings(late=True, on_lost=True, prefetch=4))


@pytest.mark.full
@pytest.mark.parametrize("conf", ALL)
@pytest.mark.fault("a worker is killed, with every setting of acks and prefetch", rows="W1 W4")
def test_no_setting_of_acks_loses_or_repeats(conf, start, outside, evidence):
    """Six of them, on both brokers."""
    hold_up(start, outside, evidence, conf)
