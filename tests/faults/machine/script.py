"""What each run is to do, said beforehand by a rule, and what was called, told afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from uuid import UUID

from tests.faults.outside import Outside


class Mood(Enum):
    """How a run goes. What acts has reached the outside world."""

    DO = "acts and returns"
    BEAT = "sends a heartbeat, acts and returns"
    FAIL = "raises, and has not acted"
    FAIL_LATE = "acts, then raises"
    SNOOZE = "asks for later"
    SKIP = "says that there is nothing to do"
    POISON = "refuses"
    UNSURE = "never sees the answer; it did not act"
    UNSURE_ACTED = "never sees the answer; it acted"
    TIMEOUT = "runs out of time before it acts"
    TIMEOUT_ACTED = "acts, then runs out of time"
    CANNOT_TELL = "`verify` does not know; an effect acts and returns"
    CANNOT_ASK = "`verify` raises; an effect acts and returns"


RETURNS = {Mood.DO, Mood.BEAT, Mood.CANNOT_TELL, Mood.CANNOT_ASK}
ACTS_IN_VAIN = {Mood.FAIL_LATE, Mood.UNSURE_ACTED, Mood.TIMEOUT_ACTED}


@dataclass
class Call:
    """One call of an effect, or of its `verify`."""

    delivery: int
    what: str
    attempt: int
    mood: Mood
    verifying: bool
    acted: bool = False
    answer: bool | None = None  # of `verify`


@dataclass
class Script:
    """The one that all effects of the machine follow."""

    outside: Outside = field(default_factory=lambda: Outside(Path()))
    moods: dict[int, Mood] = field(default_factory=dict)  # by delivery; DO where nothing is said
    calls: list[Call] = field(default_factory=list)
    children: set[UUID] = field(default_factory=set)  # events that effects emitted and committed

    def begin(self, delivery: int, what: str, attempt: int, *, verifying: bool = False) -> Call:
        mood = self.moods.get(delivery, Mood.DO)
        call = Call(delivery, what, attempt, mood, verifying)
        self.calls.append(call)
        return call

    def act(self, call: Call, key: str) -> None:
        self.outside.write(call.what, key)
        call.acted = True

    def told(self) -> list[Call]:
        """The calls since this was asked last."""
        calls, self.calls = self.calls, []
        return calls


script = Script()
