"""
What the client asked for and what it was told, a line each, written before and after.

The file outlives the run, and with the partners' ledger and the shop's tables it is all that the
checker reads.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path


class Told(StrEnum):
    """What became of a request, as far as its sender knows."""

    PLACED = "placed"
    DECLINED = "declined"  # rolled back, and said so
    UNKNOWN = "unknown"  # no answer, however often it was asked


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One order that was asked for, and the end of the asking."""

    way: str  # "form" or "api"
    name: str  # the order's reference, or the idempotency key
    customer: str  # e-mail address
    told: Told
    asked_at: float  # seconds, the machine's clock, as in the partners' ledger
    told_at: float
    tries: int = 1
    answers: tuple[str, ...] = ()  # digests of all answers that were given under this key


class Journal:
    """`Journal(path)`: written by many threads, read when they are done."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.placed = 0  # orders that were acknowledged
        self._lock = threading.Lock()

    def write(self, line: Line) -> None:
        with self._lock, self.path.open("a") as file:
            file.write(json.dumps(asdict(line)) + "\n")
            self.placed += line.told is Told.PLACED

    def lines(self) -> list[Line]:
        return list(read(self.path))


def read(path: Path) -> Iterator[Line]:
    if path.exists():
        for text in path.read_text().splitlines():
            fields = json.loads(text)
            yield Line(
                **fields | {"told": Told(fields["told"]), "answers": tuple(fields["answers"])}
            )


def now() -> float:
    return time.time()
