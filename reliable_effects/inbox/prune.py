"""
The sweep that deletes the rows of messages whose sender repeats them no more: in small batches, by
index, consumer by consumer. A batch that others hold is left for the next time.
"""

from __future__ import annotations

from time import monotonic

from django.db import transaction

from ..clock import DbNow
from ..conf import settings
from ..outbox.heartbeat import Swept, Turn
from ..outbox.sweeps import add
from .models import InboxMessage, consumers

INBOX = "inbox"

_BATCH = 500  # rows in one transaction: a few milliseconds of locks
_BOUND = 2.0  # seconds; the relay waits for it in the same thread

_left_off: dict[str, str] = {}  # by database: the last consumer whose old rows are all gone


def register() -> None:
    """Let the sweeps' timer know of ours."""
    add(INBOX, lambda: settings().prune_period, prune)


def prune(using: str, _turn: Turn | None = None) -> Swept:
    """One sweep over all consumers, or as many as the time allows; the next one goes on from there."""
    swept = Swept()
    until = monotonic() + _BOUND
    done = _left_off.pop(using, "")
    while names := consumers(using, after=done, at_most=1):
        if not _prune_consumer(using, names[0], swept, until):
            _left_off[using] = done
            swept.truncated = True
            break
        done = names[0]
    return swept


def forget() -> None:
    """For tests that empty the tables."""
    _left_off.clear()


def _prune_consumer(using: str, consumer: str, swept: Swept, until: float) -> bool:
    """Whether it came to the end."""
    rows = InboxMessage.objects.using(using)
    old = rows.filter(consumer=consumer, received_at__lte=DbNow() - settings().inbox_retention)
    oldest = old.order_by("received_at").select_for_update(skip_locked=True)
    while monotonic() < until:
        with transaction.atomic(using=using):
            pks = list(oldest.values_list("pk", flat=True)[:_BATCH])
            rows.filter(pk__in=pks).delete()
        swept.seen += len(pks)
        swept.done += len(pks)
        if len(pks) < _BATCH:
            return True
    return False
