"""How `effects_worker` begins and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from reliable_effects.clock import read_clock
from reliable_effects.outbox.models import Delivery, Sweep
from reliable_effects.outbox.states import Reason, State
from reliable_effects.schedule.models import ScheduledJob
from reliable_effects.schedule.states import JobState
from tests.shop.events import order_placed
from tests.shop.models import LedgerEntry, Order
from tests.waiting import eventually
from tests.watch.conftest import hangs

from . import effects
from .conftest import Worker
from .test_killers import all_succeeded, promise, times_done

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_stops_on_sigterm_and_leaves_nothing_running(effects_worker):
    """Deploys send it all day."""
    promise(effects.innocent, 20)
    eventually(lambda: times_done("innocent") > 0, within=30)

    effects_worker.send_signal(signal.SIGTERM)

    assert effects_worker.wait(20) == 0
    assert not Delivery.objects.filter(state=State.RUNNING).exists()


def test_children_end_when_their_parent_is_killed(effects_worker):
    """Nobody would replace them: an orphan is worse than none."""
    promise(effects.innocent)
    eventually(lambda: times_done("innocent") == 1, within=30)
    children = children_of(effects_worker)
    assert len(children) == 3  # one of them sweeps

    effects_worker.kill()
    effects_worker.wait(5)

    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), within=20)


def test_a_sweeping_process_that_is_killed_is_replaced(effects_worker):
    """Nobody else would rescue what a dead child held."""
    eventually(lambda: len(children_of(effects_worker)) == 3, within=30)
    for pid in children_of(effects_worker):
        os.kill(pid, signal.SIGKILL)

    eventually(lambda: Sweep.objects.filter(name="rescue").exists(), within=30)
    assert effects_worker.poll() is None


@pytest.fixture
def _hung():
    """What the sweeps ask the database is not answered."""
    yield from hangs("default")


@pytest.mark.usefixtures("_hung")
def test_a_database_that_hangs_keeps_nobody_from_being_replaced_nor_the_worker_from_ending(
    effects_worker,
):
    """The parent asks no database."""
    children = eventually(lambda: children_of(effects_worker), within=30)

    os.kill(children[0], signal.SIGKILL)

    eventually(lambda: len(set(children_of(effects_worker)) - {children[0]}) == 3, within=20)
    effects_worker.send_signal(signal.SIGTERM)
    assert effects_worker.wait(20) == 0


def children_of(worker: Worker) -> list[int]:
    """The dead that nobody has buried are among them."""
    command = ["ps", "-o", "pid=", "--ppid", str(worker.pid)]
    found = subprocess.run(
        command, capture_output=True, text=True, check=False
    )  # 1: there are none
    return [int(pid) for pid in found.stdout.split()]


def test_draining_ends_when_nothing_is_due():
    """For cron, where no process may stay."""
    promise(effects.innocent, 3)
    connection.close()

    subprocess.run(
        [sys.executable, "-m", "django", "effects_worker", "--drain"],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.worker.settings"},
        check=True,
        timeout=60,
    )

    assert all_succeeded(effects.innocent)


def test_draining_begins_with_the_jobs_whose_time_has_come():
    """A month may lie between two of its runs."""
    order = Order.objects.create()
    with transaction.atomic():
        order_placed.schedule(order, at=read_clock("default"), key="a")
    connection.close()

    subprocess.run(
        [sys.executable, "-m", "django", "effects_worker", "--drain"],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.worker.settings"},
        check=True,
        timeout=60,
    )

    assert ScheduledJob.objects.get().state == JobState.DONE
    assert set(Delivery.objects.values_list("state", flat=True)) == {State.SUCCEEDED}
    assert LedgerEntry.objects.filter(what="thanks").count() == 1


def test_draining_ends_although_an_effect_hangs():
    """Else cron would start one process after another, and each would stay."""
    promise(effects.hang)
    connection.close()

    subprocess.run(
        [sys.executable, "-m", "django", "effects_worker", "--drain"],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.worker.settings"},
        check=True,
        timeout=60,
    )

    assert Delivery.objects.get().reason == Reason.TIMED_OUT


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--processes", "0"], "--processes"),
        (["--drain", "--relay-only"], "--relay-only"),
        (["--relay-only"], "TRANSPORT"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(arguments, named):
    """Before anything is forked."""
    with pytest.raises(CommandError, match=named):
        call_command("effects_worker", *arguments)
