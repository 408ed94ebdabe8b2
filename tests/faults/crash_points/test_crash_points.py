"""Killed at any line of any act: nothing lost, nothing phantom, one more run at most, one key."""

from __future__ import annotations

import pytest

from reliable_effects.effects.registry import registry
from tests.faults.evidence import IS_FULL

with registry.scratch():  # effects of their own: only the processes that are killed know them
    from .acts import (
        emitting,
        endings,
        receiving,
        remedies,
        requests,
        running,
        scheduling,
        sweeping,
    )

pytestmark = pytest.mark.timeout(3600 if IS_FULL else 120)


def of(module):
    return pytest.mark.parametrize("act", [act.name for act in module.ACTS])


@pytest.mark.fault("a client is killed at a line of emit, COMMIT or hint", rows="C1 C2 C4 C5 C7")
@of(emitting)
def test_a_change_and_its_announcement_share_one_fate(sweep, act):
    """Killed in the block neither is there; killed after the COMMIT both are, hint or no hint."""
    sweep(act)


@pytest.mark.fault(
    "a worker is killed at a line of claim, run or complete", rows="C8 C9 C10 C11 C12 C13 C15"
)
@of(running)
def test_a_killed_worker_costs_one_more_run_at_most(sweep, act):
    """With the same key; and what an atomic effect writes is there once."""
    sweep(act)


@pytest.mark.fault("a worker is killed while it writes how a run ended", rows="C11 C12 C16 C18")
@of(endings)
def test_a_run_whose_end_was_not_written_comes_to_the_same_end(sweep, act):
    """Failed, refused, skipped, snoozed or uncertain, the second worker finds that out as well."""
    sweep(act)


@pytest.mark.fault("a sweep is killed at any of its lines", rows="C17 C18")
@of(sweeping)
def test_a_killed_sweep_leaves_the_rest_to_the_next(sweep, act):
    """No row is left where no sweep looks, and none is taken twice."""
    sweep(act)


@pytest.mark.fault("a redrive or cancellation is killed at any of its lines", rows="C18")
@of(remedies)
def test_a_remedy_is_done_or_was_never_begun(sweep, act):
    """For each row by itself; and it is done once the person was told so."""
    sweep(act)


@pytest.mark.fault("a client or a tick is killed at a line of a scheduled job", rows="C17 C18")
@of(scheduling)
def test_a_job_is_one_event_whoever_dies(sweep, act):
    """Scheduled with its change or not at all; emitted and ended in one transaction."""
    sweep(act)


@pytest.mark.fault(
    "a server is killed at a line of an idempotent request", rows="C1 C2 C4 C5 C19 I2"
)
@of(requests)
def test_a_request_that_is_sent_again_acts_once(sweep, act):
    """Killed in the view nothing is there; killed after the COMMIT the answer is, too."""
    sweep(act)


@pytest.mark.fault("whoever handles a message is killed at any of its lines", rows="C1 C2")
@of(receiving)
def test_a_message_is_handled_once_whoever_dies(sweep, act):
    """Claim and work commit together, so what its sender sends again is new, or a duplicate."""
    sweep(act)
