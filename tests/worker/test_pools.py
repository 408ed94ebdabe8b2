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

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.one_database,  # the first is PostgreSQL
]

SLOTS = 4


class Pool:
    """A stock worker of four slots in one process."""

    pool: str

    @pytest.fixture
    def start(self, redis_server, tmp_path: Path):
        redis_server.wipe()

        @contextmanager
        def start() -> Iterator[Worker]:
            options = ("--pool", self.pool, "-c", str(SLOTS))
            warned = {"PYTHONWARNINGS": "always::ResourceWarning"}
            with celery_worker_on(redis_server, tmp_path, *options, **warned) as worker:
                yield worker

        return start


class Hanging(Pool):
    """What is promised where timeouts cannot be enforced."""

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


class Killing(Pool):
    """What is promised where a death takes others along."""

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


class TestKillingThreads(Killing):
    """`celery worker --pool threads`."""

    pool = "threads"


@pytest.mark.full
class TestKillingGreenlets(Killing):
    """`celery worker --pool gevent`."""

    pool = "gevent"


@pytest.mark.full
class TestHangingThreads(Hanging):
    """A thread that sleeps."""

    pool = "threads"


class TestHangingGreenlets(Hanging):
    """A greenlet that sleeps, and lets the others work; so must the database's client."""

    pool = "gevent"

    @pytest.mark.fault("a pool whose every task is a thread, or greenlet, of its own", rows="D7")
    def test_connections_do_not_pile_up(self, start, outside, evidence, tmp_path):
        """What is kept for the next task must be found by it, or be closed."""
        court = Court(outside, strikes=1)
        with start() as worker:
            court.owe(innocents.guest, 20)
            eventually(court.ended, within=40)
            files = Path(f"/proc/{worker.pid}/fd")
            open_before = len(list(files.iterdir()))
            court.owe(innocents.guest, 60)
            eventually(court.ended, within=40)

            assert len(list(files.iterdir())) - open_before <= 2 * SLOTS
            assert "deleted while still open" not in (tmp_path / "log").read_text()
        court.judge(evidence)


@pytest.mark.full
@pytest.mark.fault("effects that hang where the worker is one process", rows="W6")
def test_a_solo_worker_ends_what_hangs_or_itself(redis_server, outside, evidence, tmp_path):
    """It runs effects in its main thread, so timeouts are enforced; past them it is to be replaced."""
    redis_server.wipe()
    solo = (redis_server, tmp_path, "--pool", "solo")
    court = Court(outside)
    with celery_worker_on(*solo) as worker:
        court.promise(["hang_in_a_socket"], each=5)
        eventually(court.ended, within=40)
        court.promise(["hang_in_c"])
        worker.wait(30)
    with celery_worker_on(*solo) as worker:
        worker.wait(40)
    with celery_worker_on(*solo):
        eventually(court.ended, within=40)
        assert seconds_until_innocents_flow(outside) < RECOVERY
    court.judge(evidence)
