"""
Where blobs are kept: five verbs that every store has, and the one that the settings name.

In: a key of our own making and bytes as they come. Out: what was kept, counted by us. A key is
written once and never overwritten, so whoever reads a blob reads one from beginning to end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from hashlib import sha256
from typing import Any, Protocol

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from ..conf import NAME, settings
from ..exceptions import BlobCorrupted

CHUNK = 256 * 1024  # bytes at a time: small beside a process, large beside a system call

_SEGMENT = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,199}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store has taken: counted and hashed on the way in, not believed of it."""

    size: int  # bytes
    sha256: str  # hex
    etag: str = ""  # the store's own name for these bytes, if it has one


class OpenBlob(Protocol):
    """Chunks to be read once, from what needs to be closed by whoever stops before the end."""

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


class ReportStore(Protocol):
    """What keeps blobs. One object serves every thread and survives a fork."""

    def put(self, key: str, chunks: Iterable[bytes], *, content_type: str) -> Stored:
        """
        Keep *chunks* under *key*: all of them, or nothing that could be read.

        Raises:
            BlobExists: the key is taken.
            BlobCorrupted: what arrived is not what was sent; it is gone again.
        """
        ...

    def open_range(self, key: str, start: int = 0) -> OpenBlob:
        """
        The bytes from *start* on, a chunk at a time.

        Raises:
            BlobMissing: at the call, not at the first chunk.
        """
        ...

    def url(self, key: str, *, expires: timedelta, filename: str, content_type: str) -> str | None:
        """An address that anybody may read until it *expires*; None where there is no such thing."""
        ...

    def exists(self, key: str) -> bool:
        """
        Whether a blob is there, quickly: a sweep asks.

        Raises whatever it likes where the store itself is not there; that is no answer.
        """
        ...

    def delete(self, key: str) -> None:
        """Also what a killed process left half way. Twice is once."""
        ...


class Counted:
    """Chunks as they pass, counted and hashed; `stored` afterwards."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._hash = sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._hash.update(chunk)
            self.size += len(chunk)
            yield chunk

    def stored(self, etag: str = "") -> Stored:
        return Stored(self.size, self._hash.hexdigest(), etag)


def checked_key(key: str) -> str:
    """
    *key*, where it can name nothing but a blob below the store's own place.

    Raises:
        ValueError: whoever made it let another's text in.
    """
    segments = key.split("/")
    if len(key) > 300 or not all(_SEGMENT.fullmatch(part) for part in segments):  # noqa: PLR2004
        raise ValueError(f"{key!r} is no key of a report's blob.")
    return key


class Opened:
    """An open blob: chunks as they are read, and closed by whoever stops before the end."""

    def __init__(self, read: Callable[[int], bytes], close: Callable[[], object]) -> None:
        self._read, self._close = read, close

    def __iter__(self) -> Iterator[bytes]:
        try:
            while chunk := self._read(CHUNK):
                yield chunk
        finally:
            self._close()

    def close(self) -> None:
        self._close()


@dataclass(frozen=True, slots=True)
class Verified:
    """
    The chunks of an open blob, where they are what was written.

    The last one is held back until the whole is known, so that of a damaged blob nobody gets all:
    a download that breaks off is noticed, one with a wrong number in it is not.
    Raises BlobCorrupted before the last chunk.
    """

    key: str
    opened: OpenBlob
    expected: Stored

    def __iter__(self) -> Iterator[bytes]:
        counted = Counted(self.opened)
        held = b""
        for chunk in counted:
            if held:
                yield held
            held = chunk
        if counted.stored().sha256 != self.expected.sha256:
            problem = f"{counted.size} of {self.expected.size} bytes, with another SHA-256"
            raise BlobCorrupted(self.key, problem)
        if held:
            yield held

    def close(self) -> None:
        """A client may go away before it has read the first."""
        self.opened.close()


def store() -> ReportStore:
    """
    The one that REPORT_STORE names; one object per process.

    Raises:
        ImproperlyConfigured: it cannot be imported, or made with its options.
    """
    return _made()


@cache
def _made() -> ReportStore:
    named = settings().report_store
    path, options = named["BACKEND"], named.get("OPTIONS", {})
    try:
        made: ReportStore = import_string(path)(**options)
    except (ImportError, TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"{NAME}['REPORT_STORE'], {path}: {error}") from error
    return made


def _forget(*, setting: str, **_: Any) -> None:
    if setting == NAME:
        _made.cache_clear()


setting_changed.connect(_forget, dispatch_uid="reliable_effects.reports.stores")
