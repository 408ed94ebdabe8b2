"""
A database that cannot be used for a while: it is said at once, and no more than needed.

An outage of ten minutes is met hundreds of times by each process, and a traceback for each would
bury the one line that matters. At level DEBUG there is one for each that is said.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from .passing import may_pass

logger = logging.getLogger("reliable_effects")

_SAY_EVERY = 60.0  # seconds, of one thing that fails in one way


@dataclass(slots=True)
class _Trouble:
    said_at: float
    unsaid: int = 0


_troubles: dict[tuple[str, str], _Trouble] = {}


def tell(what: str, error: BaseException) -> None:
    """
    Log that *what* failed because of *error*: at once, then a line a minute while it goes on.

    What does not pass by itself is a defect: it is logged whenever it happens, with its traceback.
    """
    if not may_pass(error):
        logger.error(what, exc_info=error)
        return
    now = time.monotonic()
    kind = (what, type(error).__name__)
    trouble = _troubles.get(kind)
    if trouble is not None and now - trouble.said_at < _SAY_EVERY:
        trouble.unsaid += 1
        return
    more = f" (and {trouble.unsaid} times in between)" if trouble and trouble.unsaid else ""
    said = " ".join(str(error).split())  # some drivers use several lines
    logger.error(
        "%s%s: %s", what, more, said, exc_info=error if logger.isEnabledFor(logging.DEBUG) else None
    )
    _troubles[kind] = _Trouble(now)


def forget() -> None:
    """For tests: what was said was said in another one."""
    _troubles.clear()
