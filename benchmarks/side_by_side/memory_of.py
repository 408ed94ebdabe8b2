"""How much memory processes have, with what they share counted once. Linux."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.services.keeper import descendants


def tree(pids: list[int]) -> list[int]:
    return [one for pid in pids for one in [pid, *descendants(pid)]]


def megabytes(pids: list[int]) -> float:
    """
    The proportional set size of these processes and all below them.

    Raises:
        FileNotFoundError: this machine does not tell (it is not Linux).
    """
    Path("/proc/self/smaps_rollup").stat()
    total = 0
    for pid in tree(pids):
        with contextlib.suppress(OSError):  # it ended meanwhile
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024
