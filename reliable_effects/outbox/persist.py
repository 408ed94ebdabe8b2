"""Write what must be known: again after an error, and with care, since it may have been written."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connections

logger = logging.getLogger("reliable_effects")

T = TypeVar("T")

_TRIES = 6  # with the rests below about ten seconds: a restart of the database, not an outage
_FIRST_REST, _LONGEST_REST = 0.1, 4.0  # seconds


def surely(using: str, write: Callable[[], T], *, after_doubt: Callable[[], T] | None = None) -> T:
    """
    Call *write*; where the connection failed, call *after_doubt* (or *write*) on a new one.

    A lost answer does not say whether the write was done, so both must be fenced by a token. What
    still fails after about ten seconds is raised: the lease takes over.

    Raises:
        OperationalError, InterfaceError: the database did not come back.
    """
    connection = connections[using]
    if connection.in_atomic_block:
        # A transaction cannot be taken up again on another connection.
        return write()
    for tried in range(1, _TRIES):
        try:
            return write()
        except (OperationalError, InterfaceError) as error:
            rest = min(_FIRST_REST * 2**tried, _LONGEST_REST) * random.uniform(0.5, 1)  # noqa: S311  # jitter
            logger.warning("database %s: %s; again in %.1f s", using, error, rest)
            connection.close()
            time.sleep(rest)
            write = after_doubt or write
    return write()
