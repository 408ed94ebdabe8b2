"""
Workers that are stopped, recycled or frozen while they run something.

What may finish does, and is not run again; what may not comes back by its lease, under the same
key, and one run more is the most.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from tests.waiting import eventually

from . import innocents
from .conftest import Worker, celery_worker_on, running
from .courts import Court, all_slots_work
from .test_effects_worker import children_of

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.one_database,  # the first is PostgreSQL
]

EFFECTS_WORKER = ("django", "effects_worker", "--processes", "2")


@pytest.fixture
def celery(redis_server, tmp_path: Path):
    redis_server.wipe()

    @contextmanager
    def celery(*options: str) -> Iterator[Worker]:
        with celery_worker_on(redis_server, tmp_path, *options) as worker:
            yield worker

    return celery


@pytest.fixture
def effects_worker(tmp_path: Path):
    @contextmanager
    def effects_worker() -> Iterator[Worker]:
        with running(EFFECTS_WORKER, tmp_path / "log") as worker:
            yield worker

    return effects_worker


def two_at_work(outside, **options) -> Court:
    court = Court(outside, strikes=1, **options)
    court.owe(innocents.nap, 2)
    eventually(lambda: court.runs().total() == 2, within=30)
    return court


class TestCelery:
    """Prefork, on Redis."""

    @pytest.mark.parametrize(
        "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.full)]
    )
    @pytest.mark.fault("a warm shutdown while effects run", rows="W18")
    def test_a_warm_shutdown_lets_them_finish(self, number, celery, outside, evidence):
        """Deploys do it all day, and must cost no run. Each child of this one takes one task."""
        with celery("--max-tasks-per-child", "1") as worker:
            court = two_at_work(outside)
            worker.send_signal(number)

            worker.wait(30)  # Celery's own exit code is 1 where it gives a message back
            assert court.ended()
        court.judge(evidence)
        assert evidence.extra_runs == 0

    @pytest.mark.full
    @pytest.mark.fault("a cold shutdown while effects run", rows="W1 W18")
    def test_after_a_cold_shutdown_they_run_once_more(self, celery, outside, evidence):
        """What was cut off comes back by its lease to the next worker."""
        with celery() as worker:
            court = two_at_work(outside)
            worker.send_signal(signal.SIGQUIT)
            worker.wait(30)
        with celery():
            eventually(court.ended, within=40)
        court.judge(evidence)
        assert evidence.extra_runs <= 2

    @pytest.mark.full
    @pytest.mark.parametrize(
        "limit", [("--max-tasks-per-child", "1"), ("--max-memory-per-child", "1000")]
    )
    @pytest.mark.fault("every child of a pool ends after one task", rows="W18")
    def test_recycled_children_run_everything_once(self, limit, celery, outside, evidence):
        """A kilobyte too many, or one task: to the rows it is the same."""
        court = Court(outside, strikes=1)
        with celery(*limit):
            court.promise(each=10)
            court.owe(innocents.guest, 20)
            eventually(court.ended, within=100)
            all_slots_work(outside, 2)
        court.judge(evidence)
        assert evidence.extra_runs == 0


class TestEffectsWorker:
    """No broker, no Celery."""

    @pytest.mark.fault("effects_worker is asked to end while effects run", rows="W18")
    def test_a_first_sigterm_lets_them_finish(self, effects_worker, outside, evidence):
        """As with Celery's."""
        with effects_worker() as worker:
            court = two_at_work(outside)
            worker.send_signal(signal.SIGTERM)

            assert worker.wait(20) == 0
            assert court.ended()
        court.judge(evidence)
        assert evidence.extra_runs == 0

    @pytest.mark.fault("effects_worker is told to end at once, or is killed", rows="W1 W18")
    def test_a_second_sigterm_waits_for_nobody(self, effects_worker, outside, evidence):
        """Then they come back by their leases; and so they do when the parent is killed."""
        with effects_worker() as worker:
            court = two_at_work(outside)
            children = children_of(worker)
            # Two that are sent at once are one: until it hears a second one, another.
            eventually(lambda: worker.poll() is not None or worker.terminate(), within=20)
            assert not any(Path(f"/proc/{pid}").exists() for pid in children)
        with effects_worker():
            eventually(court.ended, within=40)
        court.judge(evidence)
        assert evidence.extra_runs <= 2

    @pytest.mark.fault("a child is frozen beyond its lease, and thawed", rows="W2")
    def test_a_frozen_child_writes_nothing_when_it_thaws(self, effects_worker, outside, evidence):
        """Its delivery is another's by then, and done."""
        with effects_worker():
            court = Court(outside, strikes=1)
            court.owe(innocents.zombie)
            eventually(lambda: court.runs().total() == 1, within=30)
            delivery = Delivery.objects.get(state=State.RUNNING)
            frozen = int(delivery.worker.rpartition(":")[2])
            os.kill(frozen, signal.SIGSTOP)
            eventually(court.ended, within=30)
            done = Delivery.objects.get(pk=delivery.pk)
            os.kill(frozen, signal.SIGCONT)

            all_slots_work(outside, 2)  # the thawed child, or who took its place, is at work again
            after = Delivery.objects.get(pk=delivery.pk)
            assert (after.state, after.attempts) == (State.SUCCEEDED, 2)
            assert (after.finished_at, after.flags) == (done.finished_at, done.flags)
        court.judge(evidence)
        assert evidence.extra_runs == 1


@pytest.mark.full
@pytest.mark.fault("a whole Celery worker is frozen beyond its lease, and thawed", rows="W2")
def test_a_frozen_worker_writes_nothing_when_it_thaws(celery, effects_worker, outside, evidence):
    """Another kind of worker has taken over: they meet in the rows only."""
    with celery() as worker:
        court = Court(outside, strikes=1)
        court.owe(innocents.zombie, 2)
        eventually(lambda: court.runs().total() == 2, within=30)
        os.killpg(worker.pid, signal.SIGSTOP)
        try:
            with effects_worker():
                eventually(court.ended, within=40)
        finally:
            done = list(Delivery.objects.order_by("pk").values())
            os.killpg(worker.pid, signal.SIGCONT)
        all_slots_work(outside, 2)

        assert list(Delivery.objects.filter(pk__in=court.words).order_by("pk").values()) == done
    court.judge(evidence)
    assert evidence.extra_runs == 2
