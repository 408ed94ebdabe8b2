"""
How a call to a partner can end other than well. An effect need not catch any of them.

    SendError
    ├── NotSent           nothing went out                        another attempt
    ├── AnswerLost        it went out, and no answer came         another attempt, same key
    ├── Unavailable       the partner could not, just now         another attempt, same key
    ├── TryLater          the partner said when                   then; no attempt is spent
    ├── Refused           it was not done, and will not be        poisoned
    ├── RequestChanged    this key was sent with another request  poisoned
    └── Doubtful          it may have happened; never blindly     `verify`, else a person
                          again
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ..effects.outcomes import Poison, Snooze, Uncertain
from ..exceptions import ReliableEffectsError


class SendError(ReliableEffectsError):
    """
    A call that did not succeed.

    `response` is the partner's answer, where one came; it is for the effect, and never stored.
    `status` is its number, or None.
    """

    response: Any = None
    status: int | None = None

    def answered(self, response: Any, status: int | None) -> SendError:
        self.response, self.status = response, status
        return self


class NotSent(SendError):
    """No connection was made, so nothing was sent."""


class AnswerLost(SendError):
    """The request went out, at least in part, and its answer was never seen."""


class Unavailable(SendError):
    """The partner answered that it could not, and may be asked again with the same key."""


class TryLater(SendError, Snooze):
    """The partner named a time. Raised out of an effect it is a snooze."""

    def __init__(self, why: str, span: timedelta) -> None:
        Snooze.__init__(self, span)
        self.args = (f"{why}; again in {span.total_seconds():g} s",)


class Refused(SendError, Poison):
    """The partner answered that it did not do it. Catch it where that is an answer: a card declined."""


class RequestChanged(SendError, Poison):
    """What is asked for differs from what this key stood for. Nothing is sent with another key."""


class Doubtful(SendError, Uncertain):
    """It may have happened, and to send it again could make it happen twice."""
