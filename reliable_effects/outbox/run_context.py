"""Which delivery this thread is running, so that what its effect emits gets its identity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from uuid import UUID

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(slots=True)
class Run:
    """One run of one effect, as emit needs to know it."""

    using: str
    delivery_id: int
    token: int
    key: UUID
    generation: int
    round: int
    # The ids of what it emitted and scheduled, and what held the keys it gave up; and committed.
    wrote: set[UUID] = field(default_factory=set)

    def note(self, connection: BaseDatabaseWrapper, ids: Iterable[UUID]) -> None:
        note = _Wrote(self, frozenset(ids))
        transaction.on_commit(note, using=connection.alias, robust=True)

    def wrote_by_now(self, connection: BaseDatabaseWrapper) -> set[UUID]:
        """What stands, or will when the open transaction commits; not what was rolled back."""
        hooks = [function for _, function, *_ in connection.run_on_commit]
        pending = [h.ids for h in hooks if isinstance(h, _Wrote) and h.run is self]
        return self.wrote.union(*pending)


@dataclass(frozen=True, slots=True)
class _Wrote:
    """An `on_commit` hook, because Django forgets those of a rolled back savepoint for us."""

    run: Run
    ids: frozenset[UUID]

    def __call__(self) -> None:
        self.run.wrote.update(self.ids)


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
