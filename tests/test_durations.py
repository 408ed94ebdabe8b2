"""Where a run of all tests was slow is told at its end."""

from __future__ import annotations

import json

from tests.durations import slowest


def test_the_slowest_folder_comes_first_with_the_runs_that_took_its_time(tmp_path):
    """What is to be made quicker next must not need a search; a run that died has told nothing."""
    runs = {name: tmp_path / name for name in ("one", "sqlite", "died")}
    runs["one"].write_text(json.dumps({"tests/docs": 5.0, "tests/worker": 4.0}))
    runs["sqlite"].write_text(json.dumps({"tests/worker": 3.0, "tests/admin": 1.0}))

    assert slowest(runs, 2) == [
        "7 s in tests/worker: one 4, sqlite 3",
        "5 s in tests/docs: one 5",
    ]
