"""What the doctor says: how bad it is, about what, the fact, and the next step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    WRONG = "wrong"  # a promise is broken, or will be; the exit code says so
    DOUBTFUL = "doubtful"  # it works, and costs something
    FINE = "fine"


@dataclass(frozen=True, slots=True)
class Fact:
    severity: Severity
    about: str
    fact: str
    next_step: str = ""
