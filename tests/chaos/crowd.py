"""How many orders are acknowledged and not yet done: by the journal and the partners' ledger."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.chaos.journal import Journal

MOST = 150  # orders: more than any fault holds up where the machine keeps pace
_LOOK = 1.0  # seconds between two looks
# Each order sends one mail, and who repeats one is told so.
_DONE = "SELECT count(*) FROM arrival WHERE partner = 'mail' AND applied"


class Crowd:
    """Asked by all customers; it looks at the ledger once a second."""

    def __init__(
        self, ledger: Path, journal: Journal, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger, self._journal, self._clock = ledger, journal, clock
        self._look_at, self._is_too_large = 0.0, False
        self._lock = threading.Lock()

    def is_too_large(self) -> bool:
        with self._lock:
            if self._clock() >= self._look_at:
                self._look_at = self._clock() + _LOOK
                self._is_too_large = self._journal.placed - _done(self._ledger) > MOST
            return self._is_too_large


def _done(ledger: Path) -> int:
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=20)) as connection:
        return int(connection.execute(_DONE).fetchone()[0])
