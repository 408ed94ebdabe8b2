"""What processes use: memory, with what they share counted once, and processor time. Linux."""

from __future__ import annotations

import contextlib
import os
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


def cpu_seconds(pids: list[int]) -> float | None:
    """Processor time of these processes and all below them so far; None where nobody tells."""
    if not Path("/proc/self/stat").exists():
        return None
    ticks = 0
    for pid in tree(pids):
        with contextlib.suppress(OSError):  # it ended meanwhile
            # A name may hold blanks and brackets, so read from behind the last bracket.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
