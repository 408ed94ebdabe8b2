"""A process that cannot start the thread that would end a hanging run: it begins none."""

from __future__ import annotations

import os
import resource
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection, connections

from reliable_effects.outbox import timeout
from reliable_effects.outbox.models import Attempt
from reliable_effects.outbox.run import run
from reliable_effects.outbox.settle import settle
from reliable_effects.outbox.states import State

from .conftest import carry_out, claim_of, pending_delivery, runs_of, write_down

pytestmark = pytest.mark.django_db(transaction=True)

# Enough for all that a run does, whatever the tests before have left, and too little for a thread.
ROOM, STACK = 256 * 2**20, 2**30  # bytes


def in_a_worker_without_means(work: Callable[[], object], *, before: Callable[[], object]) -> None:
    """In a child that may be killed: *before*, and *work* when no thread can be started."""
    connections.close_all()  # it must not speak on ours
    pid = os.fork()
    if pid == 0:
        try:
            timeout.enforce_here()
            connection.ensure_connection()
            before()
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            threading.stack_size(STACK)
            resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, resource.RLIM_INFINITY))
            work()
        except BaseException:  # noqa: BLE001  # whatever it was, a child must not go on as a test
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "see the child's traceback"


def test_a_run_that_nothing_would_end_is_left_to_another_worker(make_effect):
    """An effect that limits its process must not fail those after it: no attempt is spent."""
    row = pending_delivery(make_effect(write_down, max_attempts=1))
    claims = []

    def work() -> None:
        (claimed,) = claims
        settle(claimed, run(claimed))

    in_a_worker_without_means(work, before=lambda: claims.append(claim_of(row)))

    row.refresh_from_db()
    assert (row.state, row.attempts, runs_of(row)) == (State.PENDING, 0, 0)
    assert not Attempt.objects.exists()


def test_a_worker_without_means_claims_nothing(make_effect):
    """And says why, to whoever gave it the hint."""
    row = pending_delivery(make_effect(write_down, max_attempts=1))

    def work() -> None:
        with pytest.raises(RuntimeError, match="watchdog"):
            carry_out(row)
        assert timeout._guarded_for is None

    in_a_worker_without_means(work, before=lambda: None)

    row.refresh_from_db()
    assert (row.state, row.attempts) == (State.PENDING, 0)
