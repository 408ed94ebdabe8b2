"""
The world outside the database: a file that effects append to, and what came of it in the end.

A line that was written stays, whatever is killed or rolled back afterwards, as with a partner who
was called. The judgement reads this file and what the client knows, and no table of ours.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Call:
    """One time that an effect acted."""

    what: str  # such as "order 7: receipt"
    key: str  # the idempotency key that the partner saw


@dataclass(frozen=True)
class Verdict:
    lost: int
    phantom: int
    extra_runs: int
    other_keys: int  # calls for one debt under a second key: must be 0 until a person starts anew


class Outside:
    """`Outside(path)` in each process that writes or reads it."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def write(self, what: str, key: str) -> None:
        """One write of one line: appended whole or not at all, by any number of processes."""
        line = json.dumps([what, key]) + "\n"
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    def calls(self) -> list[Call]:
        if not self.path.exists():
            return []
        return [Call(*json.loads(line)) for line in self.path.read_text().splitlines()]

    def judge(
        self,
        committed: Iterable[str],
        *,
        set_aside: Iterable[str] = (),
        in_doubt: Iterable[str] = (),
    ) -> Verdict:
        """
        Compare with what the client knows: *committed*, or *in_doubt* because no answer came.

        *set_aside* is what stands visibly in a state that waits for a person. All three are the
        words that the effects write.
        """
        committed, in_doubt, set_aside = set(committed), set(in_doubt), set(set_aside)
        calls = self.calls()
        times = Counter(call.what for call in calls)
        keys = Counter(what for what, _ in {(call.what, call.key) for call in calls})
        return Verdict(
            lost=len(committed - times.keys() - set_aside),
            phantom=len(times.keys() - committed - in_doubt),
            extra_runs=sum(count - 1 for count in times.values()),
            other_keys=sum(count - 1 for count in keys.values()),
        )
