"""
Blobs in one of the project's STORAGES: for clouds that Django has a storage for, and S3 has not.

Its limits are those of Django's storages: nothing there refuses to overwrite for certain, a blob is
written to this host's disk first, and some storages read a whole blob into memory to stream it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from datetime import timedelta

from django.core.files import File
from django.core.files.storage import Storage, storages

from ..exceptions import BlobCorrupted, BlobExists, BlobMissing
from .stores import Counted, Opened, Stored, checked_key


class DjangoStorageReportStore:
    """
    `OPTIONS: {"alias": "reports"}`: a key of STORAGES.

    signed_urls: the storage's own `url()` is signed and lives for five minutes at most, so that a
    browser may be sent there. Without it Django streams.
    """

    def __init__(self, *, alias: str, signed_urls: bool = False) -> None:
        self.alias, self.signed_urls = alias, signed_urls

    @property
    def storage(self) -> Storage:
        return storages[self.alias]

    def put(self, key: str, chunks: Iterable[bytes], *, content_type: str) -> Stored:  # noqa: ARG002  # storages guess it by the name
        checked_key(key)
        if self.storage.exists(key):
            raise BlobExists(key)
        counted = Counted(chunks)
        # By way of the disk: storages seek, ask for the size, and read again where they retry.
        with tempfile.TemporaryFile() as file:
            for chunk in counted:
                file.write(chunk)
            file.seek(0)
            name = self.storage.save(key, File(file, name=key))
        if name != key:  # somebody was there in the meantime, and storages give another name then
            self.storage.delete(name)
            raise BlobExists(key)
        if (size := self.storage.size(key)) != counted.size:
            self.storage.delete(key)
            raise BlobCorrupted(key, f"{size} bytes of {counted.size} arrived")
        return counted.stored()

    def open_range(self, key: str, start: int = 0) -> Opened:
        try:
            file = self.storage.open(checked_key(key), "rb")
        except FileNotFoundError:
            raise BlobMissing(key) from None
        file.seek(start)
        return Opened(file.read, file.close)

    def url(
        self,
        key: str,
        *,
        expires: timedelta,  # noqa: ARG002  # the storage's own settings say it
        filename: str,  # noqa: ARG002  # storages cannot say it
        content_type: str,  # noqa: ARG002  # as above
    ) -> str | None:
        return self.storage.url(checked_key(key)) if self.signed_urls else None

    def exists(self, key: str) -> bool:
        return self.storage.exists(checked_key(key))

    def delete(self, key: str) -> None:
        self.storage.delete(checked_key(key))
