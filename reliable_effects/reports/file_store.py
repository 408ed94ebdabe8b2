"""
Blobs as files below one directory: the default, for one host or a shared file system.

What is there under its name is whole: it was written beside, and moved when all of it was on disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from ..exceptions import BlobExists, BlobMissing
from .stores import Counted, Opened, Stored, checked_key


class FileReportStore:
    """
    `OPTIONS: {"location": "/srv/reports"}`: a directory that every worker and web process shares.

    It must not be served by the web server: who may read a report is asked at each request.
    """

    def __init__(self, *, location: str | os.PathLike[str]) -> None:
        self.location = Path(location)

    def put(self, key: str, chunks: Iterable[bytes], *, content_type: str) -> Stored:  # noqa: ARG002  # the name says it
        path = self._path(key)
        if path.exists():
            raise BlobExists(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        part, counted = _part(path), Counted(chunks)
        try:
            with part.open("xb") as file:
                for chunk in counted:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:  # a timeout too: what is half is of no use
            with suppress(OSError):
                part.unlink()
            raise
        # The name is on disk when its directory is, and so on up: each may be new.
        for directory in (path.parent, *path.parent.parents):
            _sync(directory)
            if directory == self.location:
                break
        return counted.stored()

    def open_range(self, key: str, start: int = 0) -> Opened:
        try:
            file = self._path(key).open("rb")
        except FileNotFoundError:
            raise BlobMissing(key) from None
        file.seek(start)
        return Opened(file.read, file.close)

    def url(
        self, key: str, *, expires: timedelta, filename: str, content_type: str
    ) -> None:  # a store's
        """None: whoever serves files from a directory asks nobody's permission."""

    def exists(self, key: str) -> bool:
        if self._path(key).exists():
            return True
        self.location.stat()  # raises where it is gone as a whole: a share that is not mounted
        return False

    def delete(self, key: str) -> None:
        path = self._path(key)
        _part(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        # Directories of one report, where nothing else is in them; another process may be quicker.
        with suppress(OSError):
            for directory in path.parents:
                if directory == self.location:
                    break
                directory.rmdir()

    def _path(self, key: str) -> Path:
        return self.location / checked_key(key)


def _part(path: Path) -> Path:
    """By name, so that `delete` finds what a killed process left."""
    return path.with_name(f"{path.name}.part")


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
