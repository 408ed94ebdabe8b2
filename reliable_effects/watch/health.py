"""
Are effects being carried out? Answered within seconds, whatever the databases do, and to anybody.

So each database is looked at in a thread of its own, which is left behind where it hangs; what was
seen a moment ago is told again instead of asked again; and nothing is told that a stranger must not
know: names of queues and sweeps, numbers and ages, but no error of a database, effect or payload.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..conf import settings
from . import status
from .looking import Looks
from .rules import ask
from .status import Database

_PATIENCE = 3.0  # seconds in all; who asks often waits for five
_FRESH = 2.0  # seconds; anybody may ask, as often as they like

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
    health = Health(databases=_looks.at(settings().databases, _PATIENCE))
    for database in health.databases:
        if database.problem:
            health.problems.append(_told(database))
            continue
        for name in _RULES:
            findings = ask(name, database)
            health.problems += [finding.text for finding in findings or ()]
    return health


def unreadable() -> list[str]:
    """Which databases this process cannot read, in sentences: one small query of each."""
    found = _reads.at(settings().databases, _PATIENCE)
    return [_told(database) for database in found if database.problem]


def _told(database: Database) -> str:
    return f"database {database.alias} cannot be read"


_looks = Looks(status.of, fresh_for=_FRESH)
_reads = Looks(status.can_be_read, fresh_for=_FRESH)


def forget() -> None:
    """For tests: what was seen was seen in another one."""
    _looks.forget()
    _reads.forget()
