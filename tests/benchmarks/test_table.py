"""Figures come into the docs by the generator alone, with the machine they were made on."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.side_by_side import expected
from benchmarks.side_by_side.figures import Row
from benchmarks.side_by_side.goals import GOALS, measured_text, stray_of
from benchmarks.side_by_side.table import BEGIN, END, contenders, merged, render, rows_of, write

TEN = "order + 10 effects"


def _row(contender, values, *, work="request", measure=TEN, unit="ms added", **rest):
    return Row(work=work, contender=contender, measure=measure, unit=unit, values=values, **rest)


def _result(*rows, load="0.10 0.20 0.30"):
    return {
        "machine": {
            "date": "2026-01-02 03:04 UTC",
            "commit": "abcdef123456",
            "command": "python -m benchmarks.side_by_side request",
            "cpu": "A Processor",
            "cores": 2,
            "memory_gb": 8,
            "kernel": "6.1",
            "python": "3.13.0",
            "load_before": load,
            "load_after": load,
            "versions": {"celery": "5.7.0"},
            "postgres": {"version": "15.18", "fsync": "on"},
        },
        "size": "tiny",
        "rows": [row.as_json() for row in rows],
        "not_run": {"drain: huey": "huey is not installed"},
    }


def _goal(what):
    return next(goal for goal in GOALS if goal.what == what)


OURS_TO_CELERY = "ten effects with their hint, to ten `delay()`, Redis"


def test_a_page_gets_the_tables_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold figures\n{END}\nafter\n")

    write(page, _result(_row("ours_redis", [1.0, 2.0, 3.0], p99=9.0, n=300, note="2 never ran")))

    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old figures" not in text
    assert "| 2.00 ms added | 9.00 | 1.00 to 3.00 | 300 | 2 never ran |" in text


def test_a_page_without_marks_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("nothing here\n")

    with pytest.raises(ValueError, match=r"page\.md has no"):
        write(page, _result())


def test_a_table_names_what_it_was_made_on_and_who_did_not_run():
    text = render(_result(_row("ours_redis", [1.0])))

    for said in ("abcdef123456", "A Processor", "celery 5.7.0", "fsync on", "0.10 0.20 0.30"):
        assert said in text
    assert "- drain: huey: huey is not installed" in text


def test_runs_of_different_works_make_one_page():
    """An hour of an idle machine comes in pieces."""
    one = _result(_row("ours", [1.0]))
    other = _result(_row("ours", [5.0], work="drain"), load="0.5 0.5 0.5")
    one["machine"]["command"] += " --json /home/ada/one.json"
    other["machine"]["command"] = "python -m benchmarks.side_by_side drain"
    other["machine"]["versions"] = {"huey": "3.5"}
    other["size"] = "usual"

    text = render(merged([one, other]))

    commands = (f"`python -m benchmarks.side_by_side {work}`" for work in ("request", "drain"))
    assert f"Command: {', '.join(commands)}." in text
    assert "size *tiny and usual*" in text
    assert "celery 5.7.0, huey 3.5." in text
    assert "### Request" in text
    assert "### Drain" in text
    assert "/home/ada" not in text


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"machine": {"commit": "123456abcdef"}}, "differ in commit: 123456abcdef, abcdef123456"),
        ({"machine": {"cpu": "Another"}}, "differ in cpu"),
        ({}, "measured twice: request"),
    ],
)
def test_what_is_not_comparable_makes_no_page(changed, said):
    one, other = _result(_row("ours", [1.0])), _result(_row("ours", [1.0]))
    other = {**other, **changed, "machine": other["machine"] | changed.get("machine", {})}

    with pytest.raises(ValueError, match=said):
        merged([one, other])


def test_a_busy_machine_is_named_as_one():
    assert "was busy" not in render(_result(load="1.90 1 1"))
    assert "was busy" in render(_result(load="2.10 1 1"))


def test_a_result_is_read_as_it_was_written():
    row = _row("ours", [1.0, 2.0], p99=3.0, n=2, extra={"floor": 0.5})

    assert rows_of(_result(row)) == [row]


@pytest.mark.parametrize(
    ("ours", "verdict"), [(2.0, "met"), (2.4, "met, within the noise"), (4.0, "missed")]
)
def test_a_goal_says_whether_it_is_met(ours, verdict):
    rows = [_row("ours_redis", [ours] * 4), _row("celery_redis", [10.0] * 4)]

    assert _goal(OURS_TO_CELERY).verdict(rows, stray=0.1) == verdict


def test_a_goal_of_a_contender_that_did_not_run_is_not_measured():
    goal = _goal(OURS_TO_CELERY)
    rows = [_row("ours_redis", [2.0])]

    assert goal.verdict(rows, 0.0) == "not measured"
    assert measured_text(goal.measured(rows), goal.unit) == "–"  # noqa: RUF001  # a dash


def test_the_best_durable_peer_is_what_counts_in_a_drain():
    """And not a message queue, which keeps nothing."""
    drain = {"work": "drain", "measure": "no-op effects", "unit": "/s"}
    rows = [
        _row("ours", [3000.0], **drain),
        _row("procrastinate", [400.0], **drain),
        _row("django_q2", [500.0], **drain),
        _row("dramatiq", [9000.0], **drain),
    ]

    assert _goal("`effects_worker`, to the best durable peer").measured(rows) == 6.0


def test_the_noise_comes_from_floors_measured_against_themselves():
    floor = _row("floor", [0.9, 1.3, 1.0], measure="floor / floor (1)", unit="ratio")

    assert stray_of([floor]) == pytest.approx(0.3)
    assert stray_of([_row("ours", [5.0])]) == 0.0


def test_every_goal_can_be_told_of_no_rows_at_all():
    for goal in GOALS:
        assert goal.verdict([], 0.0) == "not measured"


def test_the_page_says_how_each_contender_is_set_up():
    """Where this fails, `python -m benchmarks.side_by_side --contenders` writes it anew."""
    page = Path(__file__).parents[2] / "docs" / "benchmarks.md"

    assert contenders() in page.read_text()


@pytest.mark.parametrize(("ours", "is_worse"), [(1.4, False), (1.6, True), (0.5, False)])
def test_a_ratio_that_has_become_worse_is_told(ours, is_worse):
    rows = [_row("ours_redis", [ours] * 4), _row("celery_redis", [10.0] * 4)]

    told = expected.regressions(rows, {OURS_TO_CELERY: 0.1})

    assert bool(told) is is_worse
    assert expected.regressions(rows, {}) == []


def test_what_the_noise_explains_is_not_told():
    rows = [
        _row("ours_redis", [1.6] * 4),
        _row("celery_redis", [10.0] * 4),
        _row("floor", [1.5, 0.7], measure="floor / floor (10)", unit="ratio"),
    ]

    assert expected.regressions(rows, {OURS_TO_CELERY: 0.1}) == []


def test_seconds_and_bytes_are_expected_of_no_machine():
    rows = [_row("ours", [900.0], work="wal", measure="WAL, from emit to prune", unit="B")]

    assert expected.ratios(rows) == {}
