"""
How well each partner behaves: what share of its calls goes wrong, and in which way.

The shares of `fail`, `busy` and `drop` exclude each other, so together they are at most 1.
The dice are seeded, so a run can be repeated as far as the order of the calls allows.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum

EVERYBODY = "*"


class Mood(Enum):
    """What a partner does with one call."""

    SERVE = "serve"
    FAIL = "fail"  # 500, nothing done
    BUSY = "busy"  # 429 with Retry-After, nothing done
    DROP = "drop"  # done, but the connection is dropped before the answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Behaviour:
    fail: float = 0.0  # share of calls, 0 to 1; so are the next three
    busy: float = 0.0
    drop: float = 0.0
    stall: float = 0.0
    stall_seconds: float = 3.0  # how long a stalled call waits before it is served
    retry_after: int = 1  # seconds, told to the caller with a 429

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise ValueError(f"{field.name}={value!r}: say a number of 0 or more.")
        if self.fail + self.busy + self.drop > 1 or self.stall > 1:
            raise ValueError("fail + busy + drop, and stall, are shares: at most 1.")


class Behaviours:
    """The present behaviour of every partner, changed while calls arrive."""

    def __init__(self, partners: tuple[str, ...], *, seed: int = 0) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._of = dict.fromkeys(partners, Behaviour())

    def change(self, wanted: Mapping[str, Mapping[str, float]]) -> None:
        """
        Replace the behaviour of each partner named; `*` stands for all and is read first.

        Raises:
            ValueError: a partner or a field is unknown, or a share is out of range.
        """
        changed = {}
        for partner in sorted(wanted, key=lambda name: name != EVERYBODY):
            try:
                behaviour = Behaviour(**wanted[partner])
            except TypeError as error:
                raise ValueError(f"{partner}: {error}") from error
            if partner != EVERYBODY and partner not in self._of:
                raise ValueError(f"No partner is called {partner!r}.")
            names = self._of if partner == EVERYBODY else (partner,)
            changed.update(dict.fromkeys(names, behaviour))
        with self._lock:
            self._of.update(changed)

    def decide(self, partner: str) -> tuple[Mood, float]:
        """Throw the dice for one call: what happens to it, and after how many seconds."""
        with self._lock:
            behaviour = self._of[partner]
            stalled = self._random.random() < behaviour.stall
            throw = self._random.random()
        wait = behaviour.stall_seconds if stalled else 0.0
        for mood, share in (
            (Mood.FAIL, behaviour.fail),
            (Mood.BUSY, behaviour.busy),
            (Mood.DROP, behaviour.drop),
        ):
            if throw < share:
                return mood, wait
            throw -= share
        return Mood.SERVE, wait

    def retry_after(self, partner: str) -> int:
        with self._lock:
            return self._of[partner].retry_after

    def as_json(self) -> dict[str, dict[str, float]]:
        with self._lock:
            return {partner: asdict(behaviour) for partner, behaviour in self._of.items()}
