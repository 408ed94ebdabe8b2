"""What a view has in hand while it runs under a key: `request.idempotency`."""

from __future__ import annotations

from dataclasses import dataclass, field

from .claim import Claimed


@dataclass(slots=True)
class Handle:
    """
    The key that this request runs under.

    `mark_sent()` right before another system is called: from then on a failure leaves the key
    uncertain, and no repeated request runs the view again. Only for views with `foreign=True`.
    """

    claimed: Claimed
    is_sent: bool = field(default=False, init=False)

    @property
    def record_id(self) -> int:
        """Of the IdempotencyRecord, for log lines."""
        return self.claimed.id

    def mark_sent(self) -> None:
        """
        Another system is called now, so it may have acted whatever becomes of this request.

        Raises:
            RuntimeError: the view is not declared with `foreign=True`, so nobody would heed it.
        """
        if not self.claimed.options.foreign:
            raise RuntimeError(
                "mark_sent() needs @idempotent(foreign=True): a crash leaves no mark, and only so"
                " is it known that the outcome may be unknown."
            )
        self.is_sent = True
