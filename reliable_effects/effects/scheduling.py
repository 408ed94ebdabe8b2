"""What `Event.schedule`, `reschedule` and `cancel` are asked, and what they answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar
from uuid import UUID

from .wall_clock import WallClock

if TYPE_CHECKING:
    from .event import Event

S = TypeVar("S")
P = TypeVar("P")

When = datetime | WallClock
OnConflict = Literal["keep", "replace", "raise"]


Plan = tuple[S, P | None, When, str]
"""One job to be: subject, payload, time and key."""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """What one `schedule` did."""

    job_id: UUID  # of the job that stands under the key now
    at: datetime  # when that one's time comes
    changed: int  # rows written: 1, or 0 where a job stood and was kept
    already_scheduled: bool  # a job stood under the key before


@dataclass(frozen=True, slots=True)
class Changed:
    """What one `reschedule` or `cancel` did; false where it changed nothing."""

    changed: int  # rows: 1, or 0 where no job stood under the key
    state: str | None  # of the last job under the key, as it is now; None where there is none

    def __bool__(self) -> bool:
        return self.changed > 0


class Scheduler(Protocol):
    """What `Event.schedule` and its like call."""

    def schedule(
        self,
        event: Event[Any, Any],
        plans: Sequence[Plan[Any, Any]],
        *,
        late: timedelta | None,
        on_conflict: OnConflict,
        using: str | None,
    ) -> list[Scheduled]: ...

    def reschedule(
        self, event: Event[Any, Any], *, key: str, at: When, using: str | None
    ) -> Changed: ...

    def cancel(self, event: Event[Any, Any], *, key: str, using: str | None) -> Changed: ...
