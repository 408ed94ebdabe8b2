"""How a run may end, for whoever writes it down."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from .states import Reason


@dataclass(frozen=True, slots=True)
class Succeeded:
    seconds: float
    written: bool = False  # an atomic effect completes with its own writes


@dataclass(frozen=True, slots=True)
class Skipped:
    reason: Reason
    exception: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    exception: BaseException


@dataclass(frozen=True, slots=True)
class Refused:
    reason: Reason
    exception: BaseException | None = None
    message: str = ""
    begun: bool = True


@dataclass(frozen=True, slots=True)
class Snoozed:
    span: timedelta


@dataclass(frozen=True, slots=True)
class Unsure:
    """It may have happened; where `verify` was asked, it could not tell."""

    exception: BaseException | None


@dataclass(frozen=True, slots=True)
class DidNotHappen:
    """What `verify` found."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The database failed, or the process, and not the effect; what was begun was rolled back."""

    exception: Exception


@dataclass(frozen=True, slots=True)
class NotForThisRelease:
    """The payload is of a later version than this code knows; another worker will know it."""


Verdict = (
    Succeeded
    | Skipped
    | Failed
    | Refused
    | Snoozed
    | Unsure
    | DidNotHappen
    | Interrupted
    | NotForThisRelease
)
