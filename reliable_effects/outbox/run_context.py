"""Which delivery this thread is running, so that what its effect emits gets its identity."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(slots=True)
class Run:
    """One run of one effect, as emit needs to know it."""

    using: str
    delivery_id: int
    token: int
    key: UUID
    generation: int
    round: int
    emitted: set[tuple[str, str, str]] = field(default_factory=set)


_current: ContextVar[Run | None] = ContextVar("reliable_effects_run", default=None)


def current_run() -> Run | None:
    return _current.get()


@contextmanager
def running(run: Run) -> Iterator[None]:
    mark = _current.set(run)
    try:
        yield
    finally:
        _current.reset(mark)
