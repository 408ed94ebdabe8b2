"""
The clock's work: relay, rescue, prune, each when its turn has come.

Called by the workers' timer, by beat's tasks and by `effects_worker`; whoever comes first takes the
turn, so any number of them may run. One sweep that fails never keeps another from running. Floors
above the outbox (jobs, owed queries) bring sweeps of their own with `add`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.db import Error, connections

from ..conf import settings
from . import outage, timeout
from .heartbeat import Swept, Turn, report, take_turn
from .prune import prune
from .relay import relay
from .rescue import rescue

logger = logging.getLogger("reliable_effects")

RELAY, RESCUE, PRUNE = "relay", "rescue", "prune"

_HANGS = timedelta(minutes=2)  # a sweep bounds itself to seconds; longer waits for no answer
_EARLY = 0.9  # of a period is enough, so that a beat of the same period never comes too early
_SOON = timedelta(seconds=10)  # what was cut short goes on then, however long its period


def sweep_all(*, with_relay: bool = True) -> dict[str, Swept]:
    """
    Everything whose turn has come, on every database; what was done, by "alias/name".

    In any order: a database that never answers takes the process along, and where it always came
    first the process that follows would never get to the others.
    """
    known = settings().databases
    return {
        f"{using}/{name}": swept
        for using in random.sample(known, len(known))
        if _answers(using)
        for name in _kinds
        if (with_relay or name != RELAY) and (swept := sweep(using, name)) is not None
    }


def add(name: str, period: Callable[[], timedelta], work: Callable[[str, Turn], Swept]) -> None:
    """
    Sweep *work* too, every *period*, after all that stand here already. `apps.ready()` calls it.

    *work* bounds itself to a few seconds: the relay waits for it in the same thread. What it could
    not do in that time it says with `truncated`, and is called again soon. The same name again
    takes the place of the first.
    """
    _kinds[name] = _Kind(period, work)


def periods() -> dict[str, timedelta]:
    """How often each sweep runs, by its name."""
    return {name: kind.period() for name, kind in _kinds.items()}


def tasks() -> dict[str, timedelta]:
    """How often each sweep runs, by the name of the task that beat sends for it."""
    return {f"reliable_effects.{name}": period for name, period in periods().items()}


def _answers(using: str) -> bool:
    """Else each sweep would wait for it in vain, while those of the other databases are due."""
    try:
        with timeout.guarded(_HANGS):
            connections[using].ensure_connection()
    except Error as error:
        outage.tell(f"the database {using} cannot be reached; the others go on", error)
        return False
    return True


def sweep(using: str, name: str, *, now: bool = False) -> Swept | None:
    """
    Run the sweep *name* on *using* when its turn has come; None when it has not, or it failed.

    `now` does not wait for the turn: for people and tests.
    """
    with timeout.guarded(_HANGS):
        return _swept(using, name, now=now)


def _swept(using: str, name: str, *, now: bool) -> Swept | None:
    kind = _kinds[name]
    period = timedelta(0) if now else kind.period() * _EARLY
    try:
        turn = take_turn(using, name, period, soon=_SOON)
        if turn is None:
            return None
        swept = kind.work(using, turn)
        report(using, name, swept)
    except Exception as error:  # noqa: BLE001  # much is the project's (owed queries, receivers)
        outage.tell(f"sweep {name} on {using} failed; the next turn tries again", error)
        _report_failure(using, name)
        return None
    if swept.done or swept.truncated:
        logger.info(
            "swept %s on %s: seen %d, done %d%s",
            name, using, swept.seen, swept.done, ", cut short" if swept.truncated else "",
        )  # fmt: skip
    return swept


def _report_failure(using: str, name: str) -> None:
    """Its turn was taken, so its heartbeat looks well: say that it is not."""
    try:
        connections[using].close_if_unusable_or_obsolete()
        report(using, name, Swept(truncated=True))
    except Error as error:
        outage.tell(f"could not report that {name} on {using} failed", error)


@dataclass(frozen=True, slots=True)
class _Kind:
    period: Callable[[], timedelta]
    work: Callable[[str, Turn], Swept]


_kinds: dict[str, _Kind] = {
    RELAY: _Kind(lambda: settings().relay_period, lambda using, _: relay(using)),
    RESCUE: _Kind(lambda: settings().rescue_period, rescue),
    PRUNE: _Kind(lambda: settings().prune_period, lambda using, _: prune(using)),
}
