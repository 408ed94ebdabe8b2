"""
Facts that system checks cannot see, for they are in databases, brokers and rows.

In: the project as it is deployed. Out: facts, each with how bad it is and what to do next. One
question that cannot be answered stops no other, nor does a database that never answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ...conf import settings
from .. import status
from ..looking import NO_ANSWER, Looks
from . import broker, databases, debts, names, versions
from .fact import Fact, Severity

__all__ = ["Fact", "Severity", "examine"]

_PATIENCE = 5.0  # seconds for all databases


def examine() -> Iterator[Fact]:
    """Everything but payloads, which take as long as there are rows: see `payloads`."""
    asked = Looks(status.can_be_read).at(settings().databases, _PATIENCE)
    readings = {look.alias: look if look.problem else status.of(look.alias) for look in asked}
    yield from _asked("versions", versions.examine)
    yield from _asked("broker", broker.examine, list(readings.values()))
    for alias, reading in readings.items():
        about = f"database {alias}"
        if reading.problem:
            yield Fact(Severity.WRONG, about, reading.problem, _READABLE.format(alias))
            if reading.problem == NO_ANSWER:
                continue  # nor would it answer what else we have to ask
            # Where it can be reached, the migrations may say why.
        yield from _asked(about, databases.examine, alias)
        if not reading.problem:
            yield from _asked(about, databases.sweeps, reading)
            yield from _asked(about, names.unknown, alias)
            yield from _asked(about, debts.examine, alias)


_READABLE = "Is it up, and did `manage.py migrate --database {}` run?"


def _asked(about: str, question: Callable[..., Iterable[Fact]], *arguments: Any) -> list[Fact]:
    try:
        return list(question(*arguments))
    except Exception as error:  # noqa: BLE001  # drivers, clients and the project's own queries
        said = str(error).strip().partition("\n")[0]
        what = f"could not ask ({question.__module__.rpartition('.')[2]}): "
        return [Fact(Severity.WRONG, about, f"{what}{type(error).__name__}: {said}", "See above.")]
