"""The arithmetic between a sample and a table: wrong here, every figure is wrong."""

from __future__ import annotations

import pytest

from benchmarks.side_by_side.figures import is_noise, noise, percentile, rate, ratio, slope
from benchmarks.side_by_side.site import ledger


def test_a_percentile_is_a_sample_that_so_many_do_not_exceed():
    samples = list(range(1, 101))

    assert percentile(samples, 50) == 50
    assert percentile(samples, 99) == 99
    assert percentile([7.0], 99) == 7.0
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 50)


def test_a_ratio_is_taken_pair_by_pair():
    """The machine was ten times slower in the third pair: that is no difference between the two."""
    found = ratio([1.0, 2.0, 10.0], [2.0, 4.0, 20.0])

    assert (found.median, found.low, found.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(("above", "below"), [([1.0], []), ([], []), ([1.0], [0.0])])
def test_what_makes_no_pairs_has_no_ratio(above, below):
    with pytest.raises(ValueError, match=r"pairs|ratio"):
        ratio(above, below)


def test_noise_is_how_far_nine_in_ten_floors_stray_from_themselves():
    assert noise([1.0] * 8 + [0.8, 3.0]) == pytest.approx(0.2)
    assert noise([]) == 0.0


def test_a_ratio_near_its_bound_is_marked_as_noise():
    assert is_noise(1.05, 1.0, 0.1)
    assert is_noise(0.95, 1.0, 0.1)
    assert not is_noise(1.2, 1.0, 0.1)


def test_a_ratio_whose_pairs_lie_on_both_sides_is_marked_as_noise():
    both_sides = ratio([0.5, 0.8, 1.4, 1.6, 3.0], [1.0] * 5)

    assert is_noise(both_sides, 1.0, 0.0)
    assert not is_noise(ratio([1.3, 1.4, 1.6], [1.0] * 3), 1.0, 0.0)


def test_a_rate_leaves_out_the_start():
    """One a second for ten seconds while the workers start, then a hundred a second for five."""
    slow = [float(n) for n in range(10)]
    quick = [10 + n / 100 for n in range(500)]

    assert rate([*slow, *quick]) == pytest.approx(100, rel=0.01)


def test_a_rate_of_a_burst_counts_all_of_it():
    assert rate([n / 1000 for n in range(200)]) == pytest.approx(1000, rel=0.01)
    assert rate([1.0]) == 0.0


def test_a_slope_is_what_each_further_one_adds():
    assert slope([(1, 5.0), (10, 14.0), (100, 104.0)]) == pytest.approx(1.0)


def test_a_ledger_tells_who_ran_twice(tmp_path):
    path = tmp_path / "ledger"
    for order, number in ((1, 0), (1, 1), (2, 0), (1, 0)):
        ledger.note(str(path), order, number)

    runs = ledger.read(path)

    assert [(run.order, run.number) for run in runs] == [(1, 0), (1, 1), (2, 0), (1, 0)]
    assert ledger.count(path) == 4
    assert ledger.repeated(runs) == 1
    assert runs[0].at <= runs[-1].at
