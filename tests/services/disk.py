"""A small file system of its own, for what happens when there is no room left. It wants root."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import eventually

_SIZE = "300m"  # room is taken from memory, as it is used


class NoDisk(Exception):
    def __init__(self) -> None:
        super().__init__("a small disk cannot be mounted here: that wants root")


class Disk:
    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """No room is left, whatever is there."""
        eventually(self._take_what_is_free)

    def free(self) -> None:
        assert self._resize(_SIZE)

    def _take_what_is_free(self) -> bool:
        """False where some of it was used meanwhile."""
        disk = os.statvfs(self.path)
        return self._resize(f"{(disk.f_blocks - disk.f_bfree) * disk.f_frsize // 1024}k")

    def _resize(self, size: str) -> bool:
        command = ["mount", "-o", f"remount,size={size}", self.path]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def small_disk() -> Iterator[Disk]:
    """
    Raises:
        NoDisk: nothing can be mounted here.
    """
    path = Path(tempfile.mkdtemp(prefix="effects-disk-"))  # pytest's own are for their owner only
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=1777", "tmpfs", path],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        path.rmdir()
        raise NoDisk
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
        path.rmdir()
