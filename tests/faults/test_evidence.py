"""What judges the others is judged first: the outside world sees each kind of harm."""

from __future__ import annotations

import pytest

from tests.faults.outside import Outside, Verdict


@pytest.fixture
def outside(tmp_path) -> Outside:
    return Outside(tmp_path / "ledger")


def test_each_promise_done_once_is_no_harm(outside):
    outside.write("receipt 1", "k1")

    assert outside.judge({"receipt 1"}) == Verdict(0, 0, 0, 0)


def test_what_was_committed_and_never_done_is_lost(outside):
    outside.write("receipt 1", "k1")

    assert outside.judge({"receipt 1", "receipt 2"}).lost == 1
    assert outside.judge({"receipt 1", "receipt 2"}, set_aside={"receipt 2"}).lost == 0


def test_what_was_done_and_never_committed_is_a_phantom(outside):
    outside.write("receipt 1", "k1")

    assert outside.judge(set()).phantom == 1
    assert outside.judge(set(), in_doubt={"receipt 1"}).phantom == 0


def test_a_second_run_is_counted_and_a_second_key_apart(outside):
    for key in ("k1", "k1", "k2"):
        outside.write("receipt 1", key)

    verdict = outside.judge({"receipt 1"})
    assert (verdict.extra_runs, verdict.other_keys) == (2, 1)
