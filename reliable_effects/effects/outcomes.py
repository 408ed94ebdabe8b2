"""
What an effect may ask for instead of returning: `raise Snooze(timedelta(hours=1))`.

Returning is success. Any other exception is a failed attempt.
"""

from __future__ import annotations

from datetime import timedelta


class Outcome(Exception):  # these are requests, not errors
    """The root of the four; never raised itself."""


class Snooze(Outcome):
    """
    "Not now": run me again after *span*. No attempt is spent.

    Snoozes add up; past `max_snooze` (7 days) the delivery is set aside as SNOOZED_OUT.
    """

    def __init__(self, span: timedelta) -> None:
        if not isinstance(span, timedelta) or span < timedelta(0):
            raise ValueError(f"Snooze({span!r}): give a timedelta that is not negative.")
        self.span = span
        super().__init__(f"not now; again in {span.total_seconds():g} s")


class Skip(Outcome):
    """There is nothing to do any more, and that is well. Ends as SKIPPED."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


class Poison(Outcome):
    """No further attempt can succeed: set me aside for a person at once. Ends as POISONED."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


class Uncertain(Outcome):
    """The request went out and its answer was never seen: it may have happened, or not."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)
