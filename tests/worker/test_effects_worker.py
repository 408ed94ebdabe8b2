"""`effects_worker` as a real process: no broker, no Celery, effects that kill and hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.db import connection, transaction

from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.states import Reason, State
from tests.shop.models import LedgerEntry, Order
from tests.waiting import eventually

from . import effects

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def worker(tmp_path) -> Iterator[subprocess.Popen[bytes]]:
    """Two children, for as long as the test takes."""
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "django", "effects_worker", "--processes", "2"],
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.worker.settings"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    print((tmp_path / "worker.log").read_text())  # pytest shows it where the test failed


def promised(effect, times: int = 1) -> list[int]:
    with transaction.atomic():
        for _ in range(times):
            effect.promise(Order.objects.create())
    rows = Delivery.objects.filter(effect=effect.name)
    return list(rows.values_list("pk", flat=True))


def the(effect) -> Delivery:
    return Delivery.objects.get(effect=effect.name)


def done(what: str) -> int:
    return LedgerEntry.objects.filter(what=what).count()


def all_are(effect, state: State) -> bool:
    return not Delivery.objects.filter(effect=effect.name).exclude(state=state).exists()


def test_everything_that_is_due_is_carried_out(worker):
    """One process tree is enough: nothing else has to run."""
    promised(effects.innocent, 120)

    eventually(lambda: all_are(effects.innocent, State.SUCCEEDED), within=30)
    assert done("innocent") == 120


@pytest.mark.parametrize("killer", [effects.kill, effects.segfault], ids=["SIGKILL", "SIGSEGV"])
def test_only_the_killer_is_convicted(worker, killer):
    """A process that dies says nothing of those that stood beside it."""
    promised(effects.innocent, 30)
    promised(killer)

    eventually(lambda: the(killer).state == State.POISONED, within=40)
    eventually(lambda: all_are(effects.innocent, State.SUCCEEDED), within=20)
    assert the(killer).reason == Reason.KILLED_WORKERS
    assert the(killer).attempts == 2


def test_an_effect_that_hangs_is_ended_by_its_timeout(worker):
    """The slot comes back, and the traceback says where it hung."""
    promised(effects.hang)
    promised(effects.innocent, 5)

    eventually(lambda: the(effects.hang).state == State.POISONED, within=30)
    assert the(effects.hang).reason == Reason.TIMED_OUT
    attempt = Attempt.objects.filter(delivery__effect="worker.hang").first()
    assert attempt.outcome == Attempt.Outcome.TIMED_OUT
    assert "time.sleep(3600)" in attempt.traceback
    assert all_are(effects.innocent, State.SUCCEEDED)


def test_what_hears_no_signal_ends_with_its_process(worker):
    """A loop in C holds the GIL: only a thread that needs none can end it."""
    promised(effects.hang_in_c)
    promised(effects.innocent, 5)

    eventually(lambda: the(effects.hang_in_c).state == State.POISONED, within=40)
    eventually(lambda: all_are(effects.innocent, State.SUCCEEDED), within=10)
    assert the(effects.hang_in_c).reason == Reason.KILLED_WORKERS


def test_a_heartbeat_keeps_timeout_and_lease_away(worker):
    """Work that says it is at it may take as long as it takes."""
    promised(effects.beat)

    eventually(lambda: the(effects.beat).state == State.SUCCEEDED, within=30)
    assert done("beat") == 1
    assert the(effects.beat).attempts == 1


def test_an_effect_that_exits_does_not_take_the_worker_along(worker):
    """SystemExit is an outcome like any other."""
    promised(effects.leave)

    eventually(lambda: the(effects.leave).state == State.POISONED, within=20)
    assert the(effects.leave).reason == Reason.ATTEMPTS_SPENT


def test_it_stops_on_sigterm_and_leaves_nothing_running(worker):
    """Deploys send it all day."""
    promised(effects.innocent, 20)
    eventually(lambda: done("innocent") > 0, within=20)

    worker.send_signal(signal.SIGTERM)

    assert worker.wait(15) == 0
    assert not Delivery.objects.filter(state=State.RUNNING).exists()


def test_children_end_when_their_parent_is_killed(worker):
    """Nobody would replace them, nobody would sweep: an orphan is worse than none."""
    promised(effects.innocent)
    eventually(lambda: done("innocent") == 1, within=20)
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(worker.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(children) == 2

    worker.kill()
    worker.wait(5)

    eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children), within=10)


def test_draining_ends_when_nothing_is_due():
    """For cron, where no process may stay."""
    promised(effects.innocent, 3)
    connection.close()

    subprocess.run(
        [sys.executable, "-m", "django", "effects_worker", "--drain"],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.worker.settings"},
        check=True,
        timeout=60,
    )

    assert all_are(effects.innocent, State.SUCCEEDED)
