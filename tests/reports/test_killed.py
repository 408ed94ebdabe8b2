"""kill -9 at the three moments that count: what is served is whole, and nothing is left for ever."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest

from reliable_effects.clock import moved
from reliable_effects.effects.registry import registry
from reliable_effects.models import ReportVersion
from reliable_effects.outbox.states import State
from reliable_effects.reports.models import VersionState
from reliable_effects.reports.stores import Stored, Verified
from reliable_effects.reports.sweeps import TIDY
from reliable_effects.testing import run_effects

from . import killed
from .conftest import asked, delivery_of, swept

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("place", "stands", "left"), [("streaming", 0, 1), ("kept", 0, 1), ("served", 1, 0)]
)
def test_a_worker_killed_while_it_builds(files, tmp_path, place, stands, left):
    """The lease ends, another builds, and the sweep finds what the first left by its row."""
    with registry.scratch():
        declared = killed.declare()
        row = asked(declared)
        delivery = delivery_of(row)
        died = subprocess.run(
            [sys.executable, "-m", "tests.reports.killed", place, str(tmp_path), str(delivery.pk)],
            check=False,
            capture_output=True,
            timeout=60,
        )
        assert died.returncode == -9, died.stderr.decode()
        assert declared.row({}).current_number == stands
        assert delivery_of(row).state == State.RUNNING

        run_effects(until=timedelta(minutes=10))
        row = declared.row({})
        current = row.current
        served = Verified(
            current.key, files.open_range(current.key), Stored(current.size, current.sha256)
        )
        assert b"".join(served).count(b"\r\n") == 100_001
        assert delivery_of(row).state == State.SUCCEEDED
        assert ReportVersion.objects.filter(state=VersionState.BUILDING).count() == left
        with moved(timedelta(days=1, minutes=1)):
            swept(TIDY)
            with moved(timedelta(hours=1, minutes=1)):
                swept(TIDY)

        assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / current.key]
        assert list(ReportVersion.objects.all()) == [current]
