"""Rows as bytes, a chunk at a time: CSV, JSON lines, or a file that the report writes itself."""

from __future__ import annotations

import csv
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

from django.core.serializers.json import DjangoJSONEncoder

from .stores import CHUNK

# What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection"); the wide ones too.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  # meant


class Format(Protocol):
    """How rows become bytes."""

    @property
    def extension(self) -> str: ...

    @property
    def content_type(self) -> str: ...

    def encode(self, rows: Iterable[Any]) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class CSV:
    """
    Comma separated, UTF-8, as RFC 4180.

    Rows are dicts or sequences; `columns` is the first line, and the keys of a dict that are
    written. Without it the first dict's keys are. Text that a spreadsheet would run as a formula
    gets an apostrophe in front; numbers are written as they are.
    """

    columns: Sequence[str] | None = None
    extension: str = "csv"
    content_type: str = "text/csv; charset=utf-8"

    def encode(self, rows: Iterable[Any]) -> Iterator[bytes]:
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer)
        for line in self._lines(iter(rows)):
            writer.writerow([_harmless(cell) for cell in line])
            if buffer.tell() >= CHUNK:
                yield buffer.getvalue().encode()
                buffer.seek(0)
                buffer.truncate()
        if text := buffer.getvalue():
            yield text.encode()

    def _lines(self, rows: Iterator[Any]) -> Iterator[Sequence[Any]]:
        columns = self.columns
        try:
            first = next(rows)
        except StopIteration:
            if columns:
                yield columns
            return
        if columns is None and isinstance(first, Mapping):
            columns = list(first)
        if columns is not None:
            yield columns
        for row in chain((first,), rows):
            # A key that is missing raises: an empty cell would be a wrong number.
            yield [row[name] for name in columns or ()] if isinstance(row, Mapping) else row


@dataclass(frozen=True, slots=True)
class JSONLines:
    """One JSON value a line: dates, decimals and UUIDs as Django spells them."""

    extension: str = "jsonl"
    content_type: str = "application/x-ndjson"

    def encode(self, rows: Iterable[Any]) -> Iterator[bytes]:
        buffer = bytearray()
        for row in rows:
            buffer += json.dumps(row, cls=DjangoJSONEncoder, allow_nan=False).encode() + b"\n"
            if len(buffer) >= CHUNK:
                yield bytes(buffer)
                buffer.clear()
        if buffer:
            yield bytes(buffer)


@dataclass(frozen=True, slots=True)
class File:
    """What the report's function writes itself, to the file that is its first argument."""

    extension: str
    content_type: str

    def encode(self, rows: Iterable[Any]) -> Iterator[bytes]:  # noqa: ARG002  # a format's
        raise TypeError("A report with a File writes it; it yields no rows.")


def zipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """*chunks* as gzip. With no time in it: the same rows are the same bytes."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()


def _harmless(cell: Any) -> Any:
    if isinstance(cell, str) and cell.startswith(_FORMULA):
        return f"'{cell}"
    return cell
