"""Children of `effects_worker` that end in strange ways, and the parent that has to notice."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from reliable_effects.outbox.states import Reason, State
from tests.waiting import eventually

from . import effects
from .conftest import running
from .test_killers import all_succeeded, promise, the

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database]


def test_a_dead_child_is_replaced_although_nobody_may_wait_for_it(tmp_path: Path):
    """Where SIGCHLD is ignored, as programs inherit it, the kernel buries children by itself."""
    command = ["tests.worker.ignoring_children", "effects_worker", "--processes=2"]
    with running(command, tmp_path / "log") as worker:
        promise(effects.kill)
        promise(effects.innocent, 5)

        eventually(lambda: the(effects.kill).state == State.POISONED, within=60)
        eventually(lambda: all_succeeded(effects.innocent), within=30)
        assert the(effects.kill).reason == Reason.KILLED_WORKERS
        assert worker.poll() is None

        worker.send_signal(signal.SIGTERM)

        assert worker.wait(20) == 0


def test_a_child_that_cannot_even_log_its_end_ends(tmp_path: Path):
    """Else it would go on as a second parent, through all that the first does when it ends."""
    log = tmp_path / "log"
    promise(effects.innocent)  # the child fails where it looks whose this is
    with running(["tests.worker.unable_to_log"], log) as parent:
        eventually(lambda: log.read_text().count("ended with 1; another takes") >= 2, within=30)

        parent.send_signal(signal.SIGTERM)

        assert parent.wait(20) == 0

    assert [line for line in log.read_text().splitlines() if line.startswith("exits of")] == [
        f"exits of {parent.pid}"
    ]
