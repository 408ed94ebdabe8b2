"""
Hint the rows that nobody has looked at in time: lost hints, retries that are due, rescued rows.

It marks first and sends then: `look_at` moves on by a grace that doubles with each hint, so a row is
hinted again, but never by two relays at once. What could not be sent is put back at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from django.db import connections, transaction

from ..clock import DbNow, now_sql
from ..conf import settings
from . import dispatch, low_water, outage
from .heartbeat import CLAIMS, Swept, give_back_turn, take_turn
from .models import LONGEST_GRACE, Delivery, Sweep
from .reconnect import mend
from .states import Flag

_TABLE = Delivery._meta.db_table
PROBE = "probe:"
_MOST_DOUBLINGS = 30  # of the grace; more hints than that are not counted
_PROBE_EVERY = timedelta(minutes=1)  # one hint for a queue that nobody consumes
_TAKE = 500  # rows marked in one transaction, at most


def relay(using: str) -> Swept:
    """One sweep over every queue. One queue's trouble does not stop the others."""
    swept = Swept()
    queues = list(waiting_queues(using))
    for queue in queues:
        if not dispatch.will_try():
            swept.truncated = True  # no broker now; a later turn will see
            break
        try:
            _relay_queue(using, queue, swept)
        except Exception as error:  # noqa: BLE001  # whatever it is, the others' rows are due
            outage.tell(f"could not relay the queue {queue!r}; the others go on", error)
            mend(using)
            swept.truncated = True
    _forget_markers(using, queues)
    return swept


def waiting_queues(using: str, only: Sequence[str] = ()) -> Iterator[str]:
    """Every queue with a waiting row: an index probe or two each, however many rows there are."""
    rows = Delivery.objects.using(using)
    waiting = rows.filter(look_at__isnull=False)
    # Elsewhere (MariaDB) all that has ended in a queue lies in front of what waits in it.
    only_waiting = connections[using].features.supports_partial_indexes
    among = waiting if only_waiting else rows
    last = ""
    while True:
        found = among.filter(queue__gt=last).order_by("queue").values_list("queue", flat=True)
        queue = found.first()
        if queue is None:
            return
        wanted = not only or queue in only
        if wanted and (only_waiting or rows.in_line(queue).values_list("pk").first()):
            yield queue
        last = queue


@dataclass(frozen=True, slots=True)
class Taken:
    """A row whose `look_at` was just moved on."""

    id: int
    alone: bool
    looked_at: datetime  # when it was to be; its place in the line


def take(using: str, queue: str, limit: int) -> list[Taken]:
    """Mark up to *limit* rows of *queue* whose time to be looked at has come."""
    mark = _mark_in_one if connections[using].vendor == "postgresql" else _mark
    low, began_at = low_water.of(using, queue), monotonic()
    found = mark(using, queue, limit, low)
    low_water.note(
        using, queue, found[-1].looked_at if found else None, is_all=len(found) < limit, low=low,
        seconds=monotonic() - began_at,
    )  # fmt: skip
    return found


def _mark(using: str, queue: str, limit: int, low: datetime | None) -> list[Taken]:
    grace = settings().relay_grace
    rows = Delivery.objects.using(using)
    waiting = rows.in_line(queue).filter(look_at__lte=DbNow())
    if low is not None:
        waiting = waiting.filter(look_at__gte=low)
    with transaction.atomic(using=using):
        found = list(
            waiting.select_for_update(skip_locked=True).values_list(
                "pk", "flags", "look_at", "hints"
            )[:limit]
        )
        by_hints: dict[int, list[int]] = {}
        for pk, _, _, hints in found:
            by_hints.setdefault(min(hints, _MOST_DOUBLINGS), []).append(pk)
        for hints, pks in by_hints.items():
            patience = min(grace * 2**hints, LONGEST_GRACE)
            rows.filter(pk__in=pks).update(look_at=DbNow() + patience, hints=hints + 1)
    return [
        Taken(pk, bool(flags & Flag.ALONE), look_at)  # type: ignore[arg-type]  # it waits, so it has one
        for pk, flags, look_at, _ in found
    ]


def _mark_in_one(using: str, queue: str, limit: int, low: datetime | None) -> list[Taken]:
    """The same in one round trip instead of four or more; a worker's bite is 50 rows (ADR 0025)."""
    connection = connections[using]
    now = now_sql(connection)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH found AS MATERIALIZED (
                SELECT id, flags, look_at, least(hints, {_MOST_DOUBLINGS}) AS hints FROM {_TABLE}
                WHERE queue = %s AND look_at IS NOT NULL AND look_at <= {now}
                    {"AND look_at >= %s" if low is not None else ""}
                ORDER BY look_at LIMIT %s FOR UPDATE SKIP LOCKED
            )
            UPDATE {_TABLE} d SET hints = found.hints + 1,
                look_at = {now} + least(%s * 2 ^ found.hints, %s) * INTERVAL '1 second'
            FROM found WHERE d.id = found.id
            RETURNING d.id, found.flags, found.look_at""",
            [
                queue,
                *([low] if low is not None else []),
                limit,
                settings().relay_grace.total_seconds(),
                LONGEST_GRACE.total_seconds(),
            ],
        )
        found = [Taken(pk, bool(flags & Flag.ALONE), at) for pk, flags, at in cursor.fetchall()]
    return sorted(found, key=lambda taken: taken.looked_at)


def in_hints(taken: Sequence[Taken]) -> list[Sequence[int]]:
    """The ids of *taken*, hint by hint: nothing shares one with what died while it ran."""
    alone: list[Sequence[int]] = [[row.id] for row in taken if row.alone]
    return alone + dispatch.chunks([row.id for row in taken if not row.alone])


def _relay_queue(using: str, queue: str, swept: Swept) -> None:
    budget = _budget(using, queue)
    step = dispatch.IDS_PER_HINT  # grows, so that a queue which refuses its first hint costs little
    while budget > 0:
        limit = min(budget, step)
        taken = take(using, queue, limit)
        sent = _send(using, queue, taken)
        swept.seen += len(taken)
        swept.done += sent
        budget -= limit
        if sent < len(taken):
            swept.truncated = True
            give_back_turn(using, PROBE + queue)  # if it was one, nobody has been asked
            return
        if len(taken) < limit:
            return
        step = min(2 * step, _TAKE)
    swept.truncated = True


def _send(using: str, queue: str, taken: Sequence[Taken]) -> int:
    """Hint *taken*, and put back what could not be; how many were hinted."""
    hints = in_hints(taken)
    for place, ids in enumerate(hints):
        if not dispatch.send(using, queue, ids):
            dispatch.put_back(using, [pk for unsent in hints[place:] for pk in unsent])
            return sum(map(len, hints[:place]))
    return len(taken)


def _budget(using: str, queue: str) -> int:
    """How many rows may be hinted now. At least one, so that no queue is ever forgotten."""
    if _is_unconsumed(using, queue):
        return 1 if take_turn(using, PROBE + queue, _PROBE_EVERY) else 0
    most = settings().relay_outstanding
    outstanding = (
        Delivery.objects.using(using)
        .in_line(queue)
        .filter(
            hints__gt=0,
            due_at__lte=DbNow(),
            look_at__gt=DbNow(),
            look_at__lte=DbNow() + LONGEST_GRACE,  # what is far away never lies in front
        )
        .values("pk")[:most]
        .count()
    )
    return max(1, most - outstanding)


def _is_unconsumed(using: str, queue: str) -> bool:
    """Something was due here for a while, and nobody has claimed anything since."""
    patience = settings().unconsumed_after
    claims = Sweep.objects.using(using).filter(name=CLAIMS + queue)
    # What lies ahead was written before the database's clock was put back, and says nothing now.
    if claims.filter(ran_at__gt=DbNow() - patience, ran_at__lte=DbNow() + patience).exists():
        return False
    due = Delivery.objects.using(using).in_front(queue).filter(due_at__lte=DbNow() - patience)
    # In order: for exists() PostgreSQL may read the table, since a row that matches is often near.
    if due.values_list("pk").first() is None:
        return False
    take_turn(using, dispatch.UNCONSUMED + queue, patience)  # emit goes by it; alerts tell of it
    return True


def _forget_markers(using: str, queues: Sequence[str]) -> None:
    """Take away the markers of queues that are consumed again, or have nothing to do."""
    markers = Sweep.objects.using(using).filter(name__startswith=dispatch.UNCONSUMED)
    for name in markers.values_list("name", flat=True):
        queue = name.removeprefix(dispatch.UNCONSUMED)
        if queue not in queues or not _is_unconsumed(using, queue):
            markers.filter(name=name).delete()
