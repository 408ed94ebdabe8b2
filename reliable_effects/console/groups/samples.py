"""
What a group shows of its newest pill: the beginning of a message that was redacted when it was kept.

It is read under the lock of the pill. Whoever forgets or prunes that pill holds the same lock, so the
text is either gone before it is read, or kept where they find it by the pill's id.
"""

from __future__ import annotations

from ...outbox.failures import sanitise
from ...outbox.models import Attempt
from ...outbox.states import Reason

_MESSAGE = 1000  # bytes; all of it is on the page of the delivery


# Set aside without an attempt: what its last one says, if it has one, is of another day.
WITHOUT_ATTEMPT = (Reason.UNKNOWN_EFFECT, Reason.STILL_OWED)


def message_of(using: str, delivery_id: int, reason: str) -> str:
    """What the last attempt of the pill said, cut. Only for who holds the pill's lock."""
    last = last_attempt(using, delivery_id) if reason not in WITHOUT_ATTEMPT else None
    return sanitise(last.message, _MESSAGE) if last is not None else ""


def last_attempt(using: str, delivery_id: int) -> Attempt | None:
    """The last attempt of a delivery; None where it had none, or it is pruned."""
    attempts = Attempt.objects.using(using)
    # Not the first in the order of ids: PostgreSQL may walk all attempts from the newest to find it.
    of_it = attempts.filter(delivery_id=delivery_id).order_by().values_list("pk", flat=True)
    last = max(of_it, default=None)
    return attempts.filter(pk=last).first() if last is not None else None
