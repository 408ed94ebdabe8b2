"""kill -9 at the three moments that count: what is served is whole, and nothing is left for ever."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from datetime import timedelta

import pytest

from reliable_effects.effects.registry import registry
from reliable_effects.models import ReportVersion
from reliable_effects.outbox.states import State
from reliable_effects.reports.models import VersionState
from reliable_effects.reports.stores import Stored, Verified, store
from reliable_effects.testing import run_effects

from . import killed
from .conftest import asked, delivery_of, tidied

_numbers = itertools.count(1)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["files", "s3"])
def kept_in(request, settings, tmp_path):
    """The store that the project uses, and what is in it besides what is served."""
    if request.param == "files":
        backend = "reliable_effects.reports.FileReportStore"
        options = {"location": str(tmp_path)}

        def found():
            return [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()]

    else:
        bucket = request.getfixturevalue("bucket")
        backend = "reliable_effects.reports.s3_store.S3ReportStore"
        prefix = f"killed-{next(_numbers)}"  # the report is the same in each test
        options = bucket.options(prefix=prefix)

        def found():
            keys = bucket.objects() + bucket.uploads()
            return [key.removeprefix(f"{prefix}/") for key in keys if key.startswith(prefix)]

    named = {"BACKEND": backend, "OPTIONS": options}
    settings.RELIABLE_EFFECTS = {**settings.RELIABLE_EFFECTS, "REPORT_STORE": named}
    return named, found


@pytest.mark.fault("a worker is killed while it builds a report", rows="C20 S2")
@pytest.mark.parametrize(
    ("place", "stands", "left"), [("streaming", 0, 1), ("kept", 0, 1), ("served", 1, 0)]
)
def test_a_worker_killed_while_it_builds(kept_in, place, stands, left):
    """The lease ends, another builds, and the sweep finds what the first left by its row."""
    named, found = kept_in
    with registry.scratch():
        declared = killed.declare()
        row = asked(declared)
        delivery = delivery_of(row)
        died = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.reports.killed",
                place,
                json.dumps(named),
                str(delivery.pk),
            ],
            check=False,
            capture_output=True,
            timeout=120,
        )
        assert died.returncode == -9, died.stderr.decode()
        assert declared.row({}).current_number == stands
        assert delivery_of(row).state == State.RUNNING
        assert len(found()) == 1

        run_effects(until=timedelta(minutes=10))
        row = declared.row({})
        current = row.current
        served = Verified(
            current.key, store().open_range(current.key), Stored(current.size, current.sha256)
        )
        assert b"".join(served).count(b"\r\n") == 100_001
        assert delivery_of(row).state == State.SUCCEEDED
        assert ReportVersion.objects.filter(state=VersionState.BUILDING).count() == left
        tidied(timedelta(days=1, minutes=20))

        assert found() == [current.key]
        assert list(ReportVersion.objects.all()) == [current]
