"""From samples to figures: pure functions, in the units that they are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table: what one contender took for one measure."""

    work: str
    contender: str
    measure: str
    unit: str
    values: list[float]  # one for each pair, round or sample
    p99: float | None = None
    n: int = 0  # samples behind it
    note: str = ""  # what was wrong with it; "" where every effect ran exactly once
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return median(self.values)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "median": self.median}


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that *percent* of them do not exceed."""
    if not samples:
        raise ValueError("There is no percentile of no samples.")
    ordered = sorted(samples)
    place = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(0, min(len(ordered), int(place)) - 1)]


@dataclass(frozen=True)
class Ratio:
    """Of two measures that were taken in turn: the median over the pairs, and how far they strayed."""

    median: float
    low: float
    high: float
    quartiles: tuple[float, float]  # half of the pairs lie between them

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}-{self.high:.2f}]"


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """
    *above* to *below*, pair by pair, so that what slowed the machine down slowed both.

    Raises:
        ValueError: they are of different lengths or empty, or something of *below* is not above 0.
    """
    if len(above) != len(below) or not above:
        raise ValueError(f"{len(above)} and {len(below)} values make no pairs.")
    if min(below) <= 0:
        raise ValueError(f"Nothing has a ratio to {min(below)}.")
    each = [a / b for a, b in zip(above, below, strict=True)]
    quartiles = percentile(each, 25), percentile(each, 75)
    return Ratio(median(each), min(each), max(each), quartiles)


def noise(floors: Sequence[float]) -> float:
    """
    How far a ratio strays with nothing behind it: 0.15 is 15 %.

    *floors* are ratios of equal things; nine in ten of them strayed no further.
    """
    return percentile([abs(one - 1) for one in floors], 90) if floors else 0.0


def is_noise(value: float | Ratio, bound: float, stray: float) -> bool:
    """Whether *value* could be on the other side of *bound* by chance: by *stray*, or by its pairs."""
    if isinstance(value, Ratio):
        if value.quartiles[0] <= bound <= value.quartiles[1]:
            return True
        value = value.median
    return bound / (1 + stray) <= value <= bound * (1 + stray)


def rate(
    times: Sequence[float], warm_up: float = 1.0, head: float = 0.1, tail: float = 0.02
) -> float:
    """
    Runs a second, from when each began.

    The first *warm_up* seconds and *head* of the runs, whichever is longer, are start-up; the last
    *tail* of them is when workers run dry. All of it counts where too little would be left.
    """
    ordered = sorted(times)
    if len(ordered) < 2:  # noqa: PLR2004  # a rate needs a span
        return 0.0
    kept = ordered[int(len(ordered) * head) : len(ordered) - int(len(ordered) * tail)]
    warm = [at for at in kept if at >= ordered[0] + warm_up]
    if len(warm) >= max(10, len(kept) // 4):
        kept = warm
    span = kept[-1] - kept[0]
    return (len(kept) - 1) / span if span > 0 else 0.0


def slope(points: Sequence[tuple[float, float]]) -> float:
    """How much the second grows with the first, by least squares."""
    if len(points) < 2:  # noqa: PLR2004  # of a line
        raise ValueError("One point has no slope.")
    x, y = (sum(values) / len(points) for values in zip(*points, strict=True))
    below = sum((a - x) ** 2 for a, _ in points)
    return sum((a - x) * (b - y) for a, b in points) / below
