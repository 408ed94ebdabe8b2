"""
Pools where several effects share a process, and none can be ended: threads and gevent.

There a run that hangs loses its lease and nothing else, and one that kills takes all others along.
Promised is what the rows can promise: the others run once more at most, under the same key, and
only the killer is convicted; what comes back after its lease writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from tests.waiting import eventually

from . import innocents
from .conftest import Worker, celery_worker_on
from .courts import RECOVERY, Court, all_slots_work, seconds_until_innocents_flow

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

SLOTS = 4


class Pool:
    """What is promised where timeouts cannot be enforced."""

    pool: str

    @pytest.fixture
    def start(self, redis_server, tmp_path: Path):
        redis_server.wipe()

        @contextmanager
        def start() -> Iterator[Worker]:
            options = ("--pool", self.pool, "-c", str(SLOTS))
            with celery_worker_on(redis_server, tmp_path, *options) as worker:
                yield worker

        return start

    @pytest.mark.fault("an effect hangs where nothing can end it", rows="W2 W6")
    def test_what_hangs_loses_its_lease_and_nothing_else(self, start, outside, evidence, tmp_path):
        """Another runs it, and when the first comes back at last it changes nothing."""
        court = Court(outside, strikes=1)
        with start():
            court.owe(innocents.zombie)
            court.promise(each=10)
            eventually(court.ended, within=40)
            (delivery,) = Delivery.objects.filter(effect="harm.zombie")
            order_pk = court.words[delivery.pk].split()[1].rstrip(":")
            Path(f"{os.environ['TEST_OUTSIDE']}-go-{order_pk}").touch()
            eventually(lambda: "lease_lost" in (tmp_path / "log").read_text(), within=20)

            again = Delivery.objects.get(pk=delivery.pk)
            assert (again.state, again.attempts) == (State.SUCCEEDED, 2)
            assert again.finished_at == delivery.finished_at
            court.judge(evidence)
            assert evidence.extra_runs == 1
            all_slots_work(outside, SLOTS)
            assert seconds_until_innocents_flow(outside) < RECOVERY

    @pytest.mark.fault("an effect kills a worker that runs others beside it", rows="W1 W4")
    def test_a_killer_takes_others_along_once(self, start, outside, evidence):
        """What died together does not run together again, so the next death tells who it was."""
        court = Court(outside)
        with start() as worker:
            court.owe(innocents.nap, SLOTS - 1)
            eventually(lambda: court.runs().total() == SLOTS - 1, within=30)
            court.promise(["kill"])
            worker.wait(30)
        with start() as worker:
            worker.wait(30)
        with start():
            eventually(court.ended, within=60)

            court.judge(evidence)
            assert court.runs_of("kill") == 2
            runs = court.runs()
            assert all(runs[court.words[pk]] <= 2 for pk in court.innocents), runs
            all_slots_work(outside, SLOTS)


class TestThreads(Pool):
    """`celery worker --pool threads`."""

    pool = "threads"


class TestGevent(Pool):
    """`celery worker --pool gevent`."""

    pool = "gevent"
