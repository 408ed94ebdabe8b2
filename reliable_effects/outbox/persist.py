"""Write what must be known: again after an error, and with care, since it may have been written."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import Error, connections

from ..conf import settings
from . import outage
from .passing import may_pass
from .reconnect import reconnect

T = TypeVar("T")

UNBEGUN = 5.0  # seconds for what is not begun: a restart; somebody will find it due after more
_OF_GRACE = 0.8  # for what was begun; the rest is for the write: the lease may end the process
_FIRST_REST, _LONGEST_REST = 0.1, 4.0  # seconds


def surely(
    using: str,
    write: Callable[[], T],
    *,
    after_doubt: Callable[[], T] | None = None,
    patience: float | None = None,
) -> T:
    """
    Call *write*; on an error that may pass, call *after_doubt* (or *write*) on a new connection.

    A lost answer does not say whether the write was done, so both must be fenced by a token. What
    still fails after *patience*, in seconds, is raised: the lease takes over. Left out, it is most
    of LEASE_GRACE, which an effect that took all its time leaves of its lease: what was done
    outside is better written late than done again.

    Raises:
        DatabaseError, InterfaceError: the database did not come back, or it would fail again.
    """
    connection = connections[using]
    if connection.in_atomic_block:
        # A transaction cannot be taken up again on another connection.
        return write()
    if patience is None:
        patience = settings().lease_grace.total_seconds() * _OF_GRACE
    until = time.monotonic() + patience
    rest = _FIRST_REST
    while True:
        try:
            return write()
        except Error as error:
            rest = min(2 * rest, _LONGEST_REST)
            pause = rest * random.uniform(0.5, 1)  # noqa: S311  # jitter
            if not may_pass(error) or time.monotonic() + pause > until:
                raise
            outage.tell(f"the database {using} failed us; what we asked is asked again", error)
            reconnect(using)
            time.sleep(pause)
            write = after_doubt or write
