"""How long a failed attempt rests before the next."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta

from ..conf import LONGEST_SPAN


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """
    Full jitter: anything between nothing and a ceiling that doubles from `first` to `longest`.

    A whole fleet that failed together should not come back together; of the jitters compared in
    "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015) the full one asks least of a
    partner that is just recovering.
    """

    first: timedelta = timedelta(seconds=10)
    longest: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        if not timedelta(0) <= self.first <= self.longest <= LONGEST_SPAN:
            raise ValueError(
                f"Backoff(first={self.first!r}, longest={self.longest!r}):"
                f" needs 0 <= first <= longest <= {LONGEST_SPAN.days} days."
            )

    def ceiling(self, attempt: int) -> timedelta:
        """
        The longest rest after *attempt* (counted from 1) has failed.

        Raises:
            ValueError: *attempt* is below 1. Nothing has failed yet, so no rest is owed.
        """
        if attempt < 1:
            raise ValueError(f"attempt is {attempt}; attempts are counted from 1.")
        # In float seconds, because a timedelta overflows where a float only grows large.
        doubled = self.first.total_seconds() * 2.0 ** min(attempt - 1, 1000)
        return timedelta(seconds=min(self.longest.total_seconds(), doubled))

    def delay(self, attempt: int) -> timedelta:
        """A random rest between zero and `ceiling(attempt)`."""
        return self.ceiling(attempt) * random.random()  # noqa: S311  # jitter, not a secret
