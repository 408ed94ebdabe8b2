"""
Each work of ours ends with figures, on sizes that say nothing about speed.

The peers are not needed: who is not installed is named, and the others are measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import not_tested
from tests.services import Missing, Postgres, Redis

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def measured(tmp_path):
    """Run works with some contenders; the result as it was written down."""

    def run(*works, only, size="tiny"):
        for server in (Postgres, Redis):
            try:
                server().command()
            except Missing as missing:
                not_tested(missing)
        result = tmp_path / "result.json"
        command = [sys.executable, "-m", "benchmarks.side_by_side", *works]
        done = subprocess.run(
            [*command, "--size", size, "--json", result, "--only", *only],
            cwd=ROOT,
            env={k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return json.loads(result.read_text())

    return run


def _by_contender(result):
    found = {}
    for row in result["rows"]:
        found.setdefault(row["contender"], []).append(row)
    return found


@pytest.mark.timeout(300)
def test_a_request_is_measured_and_so_is_the_noise(measured):
    result = measured("request", only=["raw_sql", "ours", "huey"])

    rows = _by_contender(result)
    measures = {row["measure"] for row in rows["ours"]}
    assert measures == {
        "order + 1 effect",
        "order + 10 effects",
        "order + 100 effects",
        "each further effect, 1 to 100",
    }
    assert {row["measure"] for row in rows["raw_sql"]} == measures
    assert all(row["median"] > 0 for row in rows["floor"])
    if find_spec("huey") is None:  # who is not installed is named, and keeps nobody away
        assert result["not_run"] == {"request: huey": "huey is not installed"}


@pytest.mark.timeout(300)
def test_every_effect_of_a_drain_runs_once_and_is_finished(measured):
    rows = _by_contender(measured("drain", only=["ours", "celery_redis", "ours_redis"]))

    for contender in ("ours", "celery_redis", "ours_redis"):
        assert any(row["measure"] == "no-op effects" for row in rows[contender])
        for row in rows[contender]:
            assert row["n"] == 100
            assert row["median"] > 0
            assert row["note"] == "", row


@pytest.mark.timeout(300)
def test_what_begins_late_is_measured(measured):
    result = measured("latency", "fan_out", only=["raw_sql", "ours"])

    assert not result["not_run"]
    rows = _by_contender(result)
    assert [row["work"] for row in rows["ours"]] == ["latency", "fan_out"]
    assert [row["work"] for row in rows["raw_sql"]] == ["latency"]
    assert all(row["note"] == "" for row in result["rows"])


@pytest.mark.timeout(300)
def test_what_grows_is_measured(measured):
    result = measured("growth", "snapshot", "wal", only=["ours"])

    assert not result["not_run"]
    assert {row["work"] for row in result["rows"]} == {"growth", "snapshot", "wal"}
    assert all(min(row["values"]) > 0 for row in result["rows"] if row["work"] != "wal")


@pytest.mark.timeout(300)
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells of memory")
def test_memory_and_a_broker_that_is_away_are_measured(measured):
    result = measured("memory", "broker_down", only=["ours_redis"])

    assert not result["not_run"]
    measures = {row["measure"] for row in result["rows"]}
    assert "order + 1 effect, broker hung, all others" in measures
    assert "a worker of 2 processes" in measures
