"""
What a group shows of its newest pill: the beginning of a message that was redacted when it was kept.

It is read under the lock of the pill. Whoever forgets or prunes that pill holds the same lock, so the
text is either gone before it is read, or kept where they find it by the pill's id.
"""

from __future__ import annotations

from ...outbox.failures import sanitise
from ...outbox.models import Attempt

_MESSAGE = 1000  # bytes; all of it is on the page of the delivery


def message_of(using: str, delivery_id: int) -> str:
    """What the last attempt of the pill said, cut. Only for who holds the pill's lock."""
    attempts = Attempt.objects.using(using).filter(delivery_id=delivery_id).order_by("-pk")
    message = attempts.values_list("message", flat=True).first()
    return sanitise(message or "", _MESSAGE)
