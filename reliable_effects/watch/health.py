"""
Are effects being carried out? Answered within seconds, whatever the databases do, and to anybody.

So each database is looked at in a thread of its own, which is left behind where it hangs; what was
seen a moment ago is told again instead of asked again; and nothing is told that a stranger must not
know: names of queues and sweeps, numbers and ages, but no error of a database, effect or payload.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from django.db import connections

from ..conf import settings
from . import status
from .rules import ask
from .status import Database

_PATIENCE = 3.0  # seconds in all; who asks often waits for five
_FRESH = 2.0  # seconds; anybody may ask, as often as they like
_GIVEN_UP = 60.0  # seconds; then a look that hangs is followed by another

# What says that effects are not being carried out. Poison is a matter for a person, not for this.
_RULES = ("sweep", "unconsumed", "late")


@dataclass(kw_only=True)
class Health:
    databases: list[Database] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        return not self.problems


def look() -> Health:
    """How all databases stand, and what of it keeps effects from being carried out."""
    health = Health(databases=_look_at(settings().databases))
    for database in health.databases:
        if database.problem:
            health.problems.append(f"database {database.alias} cannot be read")
            continue
        for name in _RULES:
            findings = ask(name, database)
            health.problems += [finding.text for finding in findings or ()]
    return health


def _look_at(aliases: tuple[str, ...]) -> list[Database]:
    looks = [_begin(alias) for alias in aliases]
    until = time.monotonic() + _PATIENCE
    return [each.result(until) for each in looks]


class _Look:
    """One reading of one database."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._began = time.monotonic()
        self._database: Database | None = None
        self._thread: threading.Thread | None = None
        if connections[alias].vendor == "sqlite":
            # A file answers or fails; and one in memory is another database in another thread.
            self._database = status.of(alias)
            return
        self._thread = threading.Thread(target=self._read, name="effects-health", daemon=True)
        self._thread.start()

    @property
    def is_fresh(self) -> bool:
        """Also one that hangs: another would hang beside it."""
        age = time.monotonic() - self._began
        hangs = self._thread is not None and self._thread.is_alive()
        return age < (_GIVEN_UP if hangs else _FRESH)

    def result(self, until: float) -> Database:
        if self._thread is not None:
            self._thread.join(max(until - time.monotonic(), 0))
        return self._database or Database(alias=self.alias, problem="no answer in time")

    def _read(self) -> None:
        try:
            self._database = status.of(self.alias)
        finally:
            connections.close_all()


_looks: dict[str, _Look] = {}
_lock = threading.Lock()


def _begin(alias: str) -> _Look:
    with _lock:
        if alias not in _looks or not _looks[alias].is_fresh:
            _looks[alias] = _Look(alias)
        return _looks[alias]


def forget() -> None:
    """For tests: what was seen was seen in another one."""
    _looks.clear()
