"""
How each queue stands now, into the row of these five minutes: what the overview shows as current.

Bounded like `watch.status`, whose numbers these are, but asked for once a minute by a sweep and not
by each page: 10,000 rows of each queue are too much while somebody waits.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from time import monotonic

from django.db import transaction
from django.db.models import Count, Min

from ...clock import in_utc, read_clock
from ...conf import MOST_COUNTED
from ...effects.registry import registry
from ...outbox.heartbeat import CLAIMS, Swept
from ...outbox.models import Delivery, Sweep
from ...outbox.relay import waiting_queues
from . import counting
from .models import QueueRollup, bucket_of

_MOST_QUEUES = 1000


def look(using: str, bound: float, swept: Swept) -> None:
    """
    See each queue, for *bound* seconds at most; those that are left keep what was seen before.

    They come in the order in which they were seen last, so that each has its turn.
    """
    until = monotonic() + bound
    now = read_clock(using)
    rows = Delivery.objects.using(using)
    aside = rows.order_by("-pk")
    running = Counter(rows.running().values_list("queue", flat=True)[:MOST_COUNTED])
    poisoned = Counter(aside.poisoned().values_list("queue", flat=True)[:MOST_COUNTED])
    unsure = aside.uncertain().filter(look_at=None)
    uncertain = Counter(unsure.values_list("queue", flat=True)[:MOST_COUNTED])
    seen = []
    for queue in _queues(using, now, set(running) | set(poisoned) | set(uncertain)):
        if monotonic() > until:
            swept.truncated = True
            break
        front = rows.in_front(queue)[:MOST_COUNTED]
        due = front.aggregate(count=Count("pk"), oldest=Min("due_at"))
        oldest = (now - in_utc(due["oldest"])).total_seconds() if due["oldest"] else None
        seen.append(
            QueueRollup(
                bucket=bucket_of(now),
                queue=queue,
                seen_at=now,
                due=due["count"],
                oldest_due=None if oldest is None else max(0, int(oldest)),
                running=running[queue],
                poisoned=poisoned[queue],
                uncertain=uncertain[queue],
            )
        )
    swept.seen += len(seen)
    swept.truncated |= not _keep(using, bucket_of(now), seen)


def _queues(using: str, now: datetime, others: set[str]) -> list[str]:
    known = Sweep.objects.using(using).filter(name__startswith=CLAIMS)
    claimed = known.order_by("name").values_list("name", flat=True)[:_MOST_QUEUES]
    names = {name.removeprefix(CLAIMS) for name in claimed} | registry.queues() | others
    names |= set(waiting_queues(using))
    lately = QueueRollup.objects.using(using).filter(bucket=bucket_of(now))
    seen_at = {queue: in_utc(at) for queue, at in lately.values_list("queue", "seen_at")}
    never = datetime.min.replace(tzinfo=now.tzinfo)
    return sorted(names, key=lambda queue: (seen_at.get(queue, never), queue))


def _keep(using: str, bucket: datetime, seen: list[QueueRollup]) -> bool:
    """Whether they were kept; another sweep may be at it, and nobody waits for that one."""
    with transaction.atomic(using=using):
        # Two sweeps, one right after the other: the second takes the place of the first.
        if counting.locked(using) is None:
            return False
        rows = QueueRollup.objects.using(using).filter(bucket=bucket)
        rows.filter(queue__in=[row.queue for row in seen]).delete()
        QueueRollup.objects.using(using).bulk_create(seen)
    return True
