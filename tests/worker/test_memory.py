"""What a worker keeps: everything that it needs, and nothing of what it has done."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.side_by_side.usage import megabytes
from tests.waiting import eventually

from . import effects
from .test_killers import all_succeeded, promise

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database]

PIECE = 5_000  # deliveries
PIECES = 4
MOST = 8  # MB for all its processes: a leak of half a kilobyte for each delivery is more


@pytest.mark.full
@pytest.mark.fault("a worker carries out 25,000 deliveries, and is weighed", rows="W20")
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells of memory")
@pytest.mark.timeout(900)
def test_a_worker_is_no_heavier_after_twenty_thousand_deliveries(effects_worker):
    """The first five thousand fill caches and pools; the others add nothing."""
    carry_out()
    before = megabytes([effects_worker.pid])

    for _ in range(PIECES):
        carry_out()

    assert megabytes([effects_worker.pid]) <= before + MOST


def carry_out() -> None:
    promise(effects.innocent, PIECE)
    eventually(lambda: all_succeeded(effects.innocent), within=150)
