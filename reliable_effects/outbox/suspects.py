"""
What died while it ran runs alone from then on: also where one process runs several at once.

In a pool of threads or greenlets a death takes everybody along, and their leases end together. Run
side by side again, an innocent would die beside the killer until it was convicted as one. So at most
one suspect runs in a process at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from ..clock import DbNow
from ..conf import settings
from .claimed import Seen
from .finish import jittered
from .models import Delivery

_turns = threading.Lock()
_holder: object | None = None
_holds_until = 0.0  # by the monotonic clock


@contextmanager
def own_turn(lease: timedelta) -> Iterator[bool]:
    """
    Whether the block may run a suspect now. Nobody waits.

    A turn is over with its *lease* at the latest: what hangs in a thread hangs for ever, and has
    shown by then that it is no killer.
    """
    global _holder, _holds_until  # noqa: PLW0603  # facts about the process
    mine = object()
    with _turns:
        is_ours = _holder is None or time.monotonic() > _holds_until
        if is_ours:
            _holder, _holds_until = mine, time.monotonic() + lease.total_seconds()
    try:
        yield is_ours
    finally:
        with _turns:
            if _holder is mine:
                _holder = None


def put_off(row: Seen) -> None:
    """Its turn comes another time; no attempt is spent."""
    Delivery.objects.using(row.using).filter(
        pk=row.id, state=row.state, claim_token=None, look_at__isnull=False
    ).update(look_at=DbNow() + jittered(settings().relay_grace), hints=0)
