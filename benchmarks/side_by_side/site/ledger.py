"""
Which effect ran when: one short record for each run, appended by all processes to one file.

A few microseconds for a run, the same for every contender. No database is asked while something is
measured, and every run is there afterwards: lost ones, repeated ones, and the time of each.
"""

from __future__ import annotations

import os
import struct
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_RECORD = struct.Struct("<qid")  # order, which of its effects, when
_fds: dict[str, int] = {}


class Run(NamedTuple):
    order: int
    number: int
    at: float  # seconds, of the machine's monotonic clock: the same in all processes


def note(path: str, order: int, number: int) -> None:
    """That effect *number* of *order* begins now."""
    fd = _fds.get(path)
    if fd is None:
        fd = _fds[path] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(fd, _RECORD.pack(order, number, time.monotonic()))


def read(path: Path) -> list[Run]:
    data = path.read_bytes() if path.exists() else b""
    whole = len(data) - len(data) % _RECORD.size
    return [Run(*fields) for fields in _RECORD.iter_unpack(data[:whole])]


def count(path: Path) -> int:
    return path.stat().st_size // _RECORD.size if path.exists() else 0


def repeated(runs: Sequence[Run]) -> int:
    """How many runs were one too many."""
    times = Counter((run.order, run.number) for run in runs)
    return sum(times.values()) - len(times)
