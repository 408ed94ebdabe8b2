"""
Ask databases that may never answer: each in a thread of its own, which is left behind where it hangs.

What hangs is not asked again beside itself for a minute: a thread for each question of a night would
be hundreds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from django.db import connections

from .status import Database

NO_ANSWER = "no answer in time"
GIVEN_UP = 60.0  # seconds; then a look that hangs is followed by another

Read = Callable[[str], Database]


class Looks:
    """The last look at each database, through *read*; seen less than *fresh_for* seconds ago, it counts."""

    def __init__(self, read: Read, *, fresh_for: float = 0.0) -> None:
        self._read, self._fresh_for = read, fresh_for
        self._looks: dict[str, Look] = {}
        self._lock = threading.Lock()

    def at(self, aliases: Sequence[str], patience: float) -> list[Database]:
        """How they stand, within *patience* seconds for all; `problem` says which gave no answer."""
        until = time.monotonic() + patience
        looks = [self._begin(alias) for alias in aliases]
        return [look.result(until) for look in looks]

    def of(self, alias: str) -> Look:
        """The last look at *alias*."""
        return self._looks[alias]

    def forget(self) -> None:
        """For tests: what was seen was seen in another one."""
        self._looks.clear()

    def _begin(self, alias: str) -> Look:
        with self._lock:
            look = self._looks.get(alias)
            if look is None or look.age > (GIVEN_UP if look.hangs else self._fresh_for):
                look = self._looks[alias] = Look(alias, self._read)
            return look


class Look:
    """One reading of one database."""

    def __init__(self, alias: str, read: Read) -> None:
        self.alias = alias
        self._began = time.monotonic()
        self._database: Database | None = None
        self.thread: threading.Thread | None = None
        if connections[alias].vendor == "sqlite":
            # A file answers or fails; and one in memory is another database in another thread.
            self._database = read(alias)
            return
        self.thread = threading.Thread(
            target=self._run, args=(read,), name="effects-look", daemon=True
        )
        self.thread.start()

    @property
    def age(self) -> float:
        return time.monotonic() - self._began

    @property
    def hangs(self) -> bool:
        """Nor does it in the child of a fork, which inherits no thread."""
        return self.thread is not None and self.thread.is_alive()

    def result(self, until: float) -> Database:
        if self.thread is not None:
            self.thread.join(max(until - time.monotonic(), 0))
        return self._database or Database(alias=self.alias, problem=NO_ANSWER)

    def _run(self, read: Read) -> None:
        try:
            self._database = read(self.alias)
        finally:
            connections.close_all()
