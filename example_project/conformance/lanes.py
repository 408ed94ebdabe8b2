"""
What the worker processes of one fixture share outside the database: counters, and what is armed.

Files, since a counter in the database would roll back with the handler that it counts, and a second
connection would wait for the first on SQLite. One byte is one run: appending is atomic.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from django.conf import settings


class Lane:
    """One copy of the fixture routes; its name is a part of their paths."""

    def __init__(self, name: str) -> None:
        self.name = name
        folder = Path(settings.FIXTURE_DIR)
        self._runs = folder / f"{name}.runs"
        self._armed = folder / f"{name}.armed"

    def count_run(self) -> int:
        """Count one more; its number."""
        file = os.open(self._runs, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, b".")
            return os.lseek(file, 0, os.SEEK_CUR)
        finally:
            os.close(file)

    @property
    def runs(self) -> int:
        return self._runs.stat().st_size if self._runs.exists() else 0

    def reset(self) -> None:
        for file in (self._runs, self._armed):
            file.unlink(missing_ok=True)

    def arm(self, crash: str) -> None:
        self._armed.write_text(crash)

    def disarm(self, *crashes: str) -> str:
        """Which of *crashes* is armed, for the one caller that gets it; else nothing."""
        with suppress(FileNotFoundError):
            if (crash := self._armed.read_text()) in crashes:
                self._armed.unlink()
                return crash
        return ""
