"""The bytes of a version on their way to a client, on either kind of server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async

from ..exceptions import BlobCorrupted
from .losing import give_up
from .models import Report, ReportVersion
from .stores import OpenBlob, Stored, Verified


class Body:
    """What is damaged breaks off, and is served to nobody else."""

    def __init__(self, row: Report, version: ReportVersion, opened: OpenBlob) -> None:
        self._row, self._version, self._opened = row, version, opened

    def __iter__(self) -> Iterator[bytes]:
        expected = Stored(self._version.size, self._version.sha256)
        try:
            yield from Verified(self._version.key, self._opened, expected)
        except BlobCorrupted:
            give_up(self._row, self._version)
            raise

    def close(self) -> None:
        """A client may go away before it has read the first."""
        self._opened.close()


class AsyncBody:
    """
    The same for ASGI, where Django would read a plain iterator to its end before it sends a byte.

    Each chunk is read in the thread of its request, where its database connection is.
    """

    def __init__(self, body: Body) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = iter(self._body)
        read = sync_to_async(lambda: next(chunks, b""))
        while chunk := await read():
            yield chunk

    def close(self) -> None:
        self._body.close()
