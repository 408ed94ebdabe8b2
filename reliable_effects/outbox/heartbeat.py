"""
Who swept when, and whose turn it is: one row a sweep.

Taking a turn is one guarded UPDATE. It is no lock: two sweeps at once do no harm, only twice the
work, and a sweeper that dies in its turn delays the next by one period.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any

from django.db import Error, IntegrityError, transaction
from django.db.models import Case, F, Q, When
from django.db.models.functions import Coalesce

from ..clock import DbNow, read_clock
from . import outage
from .models import Sweep
from .reconnect import mend

logger = logging.getLogger("reliable_effects")

CLAIMS = "claims:"
_CLAIMS_EVERY = 10.0  # seconds between two writes of one process about one queue


@dataclass(frozen=True, slots=True)
class Turn:
    """It is ours to sweep. `since_last` is None where nobody ever did."""

    since_last: timedelta | None


@dataclass(slots=True)
class Swept:
    """What one sweep did."""

    seen: int = 0
    done: int = 0
    truncated: bool = False


def take_turn(
    using: str, name: str, period: timedelta, *, soon: timedelta | None = None
) -> Turn | None:
    """
    The turn, when the last sweep of that *name* is at least *period* ago.

    Where that one was cut short, *soon* ago is enough. One that seems to lie ahead says that the
    database's clock was put back: nobody waits until it has caught up.
    """
    rows = Sweep.objects.using(using).filter(name=name)
    found = rows.values_list("ran_at", "truncated").first()
    if found is None:
        return Turn(None) if _first(using, name) else None
    last, truncated = found
    if truncated and soon is not None:
        period = min(period, soon)
    # Further ahead than a period: two sweeps that ask at the same moment are no jump.
    over = Q(ran_at__lte=DbNow() - period) | Q(ran_at__gt=DbNow() + period)
    if rows.filter(over).update(ran_at=DbNow()) != 1:
        return None
    return Turn(read_clock(using) - last)


def give_back_turn(using: str, name: str) -> None:
    """Nothing came of it, so whoever asks next may have it, at once."""
    Sweep.objects.using(using).filter(name=name).delete()


def _first(using: str, name: str) -> bool:
    try:
        with transaction.atomic(using=using):
            Sweep.objects.using(using).create(name=name)
    except IntegrityError:
        return False  # another was first
    return True


def report(using: str, name: str, swept: Swept) -> None:
    """What the sweep has seen and done, for people and alarms."""
    Sweep.objects.using(using).filter(name=name).update(
        ran_at=DbNow(),
        seen=swept.seen,
        done=swept.done,
        truncated=swept.truncated,
        truncated_runs=F("truncated_runs") + 1 if swept.truncated else 0,
        truncated_since=Coalesce("truncated_since", DbNow()) if swept.truncated else None,
        **_habit(swept),
    )


def _habit(swept: Swept) -> dict[str, Any]:
    """Since when this sweep sees rows in each run, or in none."""
    if swept.seen:
        begins = Case(When(empty_since=None, then=Coalesce("rows_since", DbNow())), default=DbNow())
        # In this order: MariaDB computes the second with what the first has set.
        return {"rows_since": begins, "empty_since": None}
    if swept.truncated:
        return {}  # it failed, or had no time to look: that says nothing about rows
    return {"empty_since": Coalesce("empty_since", DbNow())}


_claims_told: dict[tuple[str, str], float] = {}


def note_claim(using: str, queue: str) -> None:
    """Somebody consumes *queue*. At most one write in ten seconds, and never an error."""
    now = monotonic()
    if now - _claims_told.get((using, queue), float("-inf")) < _CLAIMS_EVERY:
        return
    _claims_told[using, queue] = now
    try:
        name = CLAIMS + queue
        if not Sweep.objects.using(using).filter(name=name).update(ran_at=DbNow()):
            _first(using, name)
    except Error as error:
        outage.tell(f"could not note that {queue} is consumed", error)
        mend(using)


def forget_claims() -> None:
    """For tests that empty the tables."""
    _claims_told.clear()
