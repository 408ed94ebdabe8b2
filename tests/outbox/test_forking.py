"""What a process shares with those that it forks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# A process of its own: pytest's heap has what other tests have frozen, or left behind.
_A_ROUND_IN_A_CHILD = """
import gc, os, sys

from reliable_effects.outbox.forking import share_memory


def own():  # kB that this process shares with nobody
    with open("/proc/self/smaps_rollup") as facts:
        return sum(int(line.split()[1]) for line in facts if line.startswith("Private_Dirty"))


loaded = [[number] for number in range(200_000)]
heap = own()
if sys.argv[1] == "shared":
    share_memory()
if os.fork() == 0:
    gc.collect()
    print(own() / heap, flush=True)
    os._exit(0)
os.wait()
"""


def _copied(how: str) -> float:
    """Which part of the parent's heap a child has copied after a round of its garbage collector."""
    command = [sys.executable, "-c", _A_ROUND_IN_A_CHILD, how]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="this machine does not tell of memory"
)
def test_a_childs_garbage_collector_copies_nothing_that_was_loaded_before():
    """Each worker would hold as many copies of Django, Celery and the project as it has children."""
    shared = _copied("shared")

    assert shared < _copied("as it comes") / 2
