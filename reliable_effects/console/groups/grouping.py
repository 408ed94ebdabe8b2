"""
The sweep "grouping": give each new poison pill its fingerprint, and each fingerprint its group.

Whoever sets a delivery aside writes nothing more than that, so this finds what has none yet, through
the one index that holds pills only. Two sweeps at once count nothing twice: a pill is written and
counted in one transaction, under its lock and only while it has no fingerprint. What somebody holds,
or the database refuses, is left for a later turn.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from django.db import Error, IntegrityError, transaction
from django.db.models import F, QuerySet

from ...clock import DbNow
from ...conf import settings
from ...outbox.heartbeat import Swept, Turn
from ...outbox.models import Delivery
from ...outbox.passing import may_pass
from ...outbox.reconnect import mend
from ...outbox.states import State
from ...outbox.sweeps import add
from . import counting
from .coming_back import has_come_back, releases_after
from .kinds import Kind, Pill, kinds_of
from .models import FailureGroup
from .samples import message_of
from .states import GroupState

logger = logging.getLogger("reliable_effects")

GROUPING = "grouping"

_BATCH = 500  # pills of one look; at most that many in one transaction
_BOUND = 2.0  # seconds; the relay waits for it in the same thread

_left_off: dict[str, int] = {}  # by database: where the last sweep was cut short


def register() -> None:
    """Let the sweeps' timer know of ours."""
    add(GROUPING, lambda: settings().grouping_period, group)


def group(using: str, _turn: Turn | None = None) -> Swept:
    """
    One sweep: `done` are the pills that found their group.

    `seen` stays 0. To see nothing is what everybody hopes for, and no sign that the sweep is broken.
    """
    swept = Swept()
    until = monotonic() + _BOUND
    for ids in _batches(using):
        if not _add_all(using, ids, until, swept):
            swept.truncated = True
            break
        _left_off[using] = ids[-1]
    else:
        _left_off.pop(using, None)
    counting.count(using)
    return swept


def forget() -> None:
    """For tests that empty the tables."""
    _left_off.clear()


def ungrouped(using: str) -> QuerySet[Delivery, int]:
    """Ids of pills without a fingerprint, as the index that holds only pills has them."""
    return Delivery.objects.using(using).alike("").order_by("pk").values_list("pk", flat=True)


def _batches(using: str) -> Iterator[list[int]]:
    last = _left_off.get(using, 0)
    while ids := list(ungrouped(using).filter(pk__gt=last)[:_BATCH]):
        yield ids
        last = ids[-1]


def _add_all(using: str, ids: Sequence[int], until: float, swept: Swept) -> bool:
    """Whether there was time for all of them."""
    kinds = list(kinds_of(using, ids).values())
    # In any order: those that the database refuses, and that take long, keep no other back for ever.
    for kind, pills in random.sample(kinds, len(kinds)):
        if monotonic() > until:
            return False
        _add(using, kind, pills, swept)
    return True


def _add(using: str, kind: Kind, pills: Sequence[Pill], swept: Swept) -> None:
    """Together; where the database refuses, one at a time, so that a bad row stays behind alone."""
    try:
        with transaction.atomic(using=using):
            swept.done += _write(using, kind, pills)
    except Error as error:
        mend(using)
        if may_pass(error):
            swept.truncated = True  # again, soon
        elif len(pills) > 1:
            for pill in pills:
                _add(using, kind, [pill], swept)
        else:
            logger.exception("delivery %d got into no group; the others go on", pills[0].id)


def _write(using: str, kind: Kind, pills: Sequence[Pill]) -> int:
    """How many of *pills* were still without a group, and are in theirs now."""
    rows = Delivery.objects.using(using).filter(pk__in=[pill.id for pill in pills])
    # By id alone, and decided here: with a state PostgreSQL may walk all that is poisoned.
    held = rows.select_for_update(skip_locked=True).order_by("pk")
    columns = held.values_list("pk", "state", "fingerprint", "finished_at")
    # Not redriven since it was read, nor redriven and poisoned again.
    same = {
        (pk, ended_at)
        for pk, state, fingerprint, ended_at in columns
        if state == State.POISONED and not fingerprint
    }
    ours = [pill for pill in pills if (pill.id, pill.ended_at) in same]
    if not ours:
        return 0
    # After the pills, of which none is waited for: so two sweeps never wait for each other.
    group = _group_of(using, kind)
    if group is None:
        return 0  # in a later turn
    free = rows.filter(pk__in=[pill.id for pill in ours], fingerprint="")
    won = free.update(fingerprint=kind.fingerprint)
    if won:
        _tell(using, group, kind, ours, won)
    return won


def _group_of(using: str, kind: Kind) -> FailureGroup | None:
    """The group of *kind*, locked; made where there is none. None where somebody else holds it."""
    rows = FailureGroup.objects.using(using).filter(fingerprint=kind.fingerprint)
    free = rows.select_for_update(skip_locked=True)
    found = free.first()
    if found is not None or rows.exists():
        return found
    made = FailureGroup(
        fingerprint=kind.fingerprint,
        effect=kind.effect,
        exception_type=kind.exception_type,
        reason=kind.reason,
        first_seen_at=DbNow(),
        last_seen_at=DbNow(),
    )
    with suppress(IntegrityError), transaction.atomic(using=using):  # another sweep was first
        made.save(using=using, force_insert=True)
    return free.first()


def _tell(using: str, group: FailureGroup, kind: Kind, pills: Sequence[Pill], won: int) -> None:
    """What the group knows after these *pills*; for who holds it, and them."""
    ended = [pill.ended_at for pill in pills if pill.ended_at is not None]
    first = ended if group.total == 0 else [group.first_seen_at, *ended]
    last = ended if group.total == 0 else [group.last_seen_at, *ended]
    newest = max(pills, key=lambda pill: (pill.ended_at or group.first_seen_at, pill.id))
    back: dict[str, Any] = {}
    if has_come_back(group, pills):
        back = {"state": GroupState.CAME_BACK, "came_back_at": DbNow()}
        logger.warning("came back: %s, fixed in %s", group, group.fixed_in)
    FailureGroup.objects.using(using).filter(pk=group.pk).update(
        pills=F("pills") + won,
        total=F("total") + won,
        counted_at=None,  # counted first
        first_seen_at=min(first, default=group.first_seen_at),
        last_seen_at=max(last, default=group.last_seen_at),
        place=kind.place or group.place,
        reason=kind.reason,
        last_release=newest.release or group.last_release,
        releases=releases_after(group, pills),
        sample_delivery_id=newest.id,
        sample_message=message_of(using, newest.id, kind.reason),
        **back,
    )
