"""
Two versions of a report, line by line: their beginnings, read with constant memory.

In: the chunks of two blobs, packed or not, whatever their size. Out: the lines that one has and the
other has not. Of each at most `LINES` lines and `BYTES` bytes are unpacked; what lies behind is not read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

LINES = 500  # of each; the time of a comparison grows with the square of it
BYTES = 1024 * 1024  # unpacked, of each
WIDTH = 300  # characters of a line that are shown
_MOST = 400  # changes that are shown


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first lines of a version; `is_all` where there are no more."""

    lines: list[str]
    is_all: bool


@dataclass(frozen=True, slots=True)
class Change:
    """A line that is in one of the two: `sign` is "-" where it was, "+" where it came."""

    sign: str
    number: int  # of the line, from 1, in the version that has it
    text: str


def beginning(chunks: Iterable[bytes], *, packed: bool) -> Beginning:
    """
    Raises:
        zlib.error: it should be packed, and is not.
    """
    read = bytearray()
    whole = True
    for piece in _unpacked(chunks) if packed else chunks:
        read += piece[: BYTES + 1 - len(read)]
        if len(read) > BYTES or read.count(b"\n") > LINES:
            whole = False
            break
    lines = bytes(read[:BYTES]).decode(errors="replace").split("\n")
    # What ends the last line begins no further one; and a line that was cut is not compared.
    if lines[-1] == "" or (not whole and len(lines) > 1):
        lines.pop()
    return Beginning([line.rstrip("\r") for line in lines[:LINES]], whole and len(lines) <= LINES)


def changes(before: list[str], after: list[str]) -> list[Change]:
    """What was taken out and what was put in, in the order of the lines."""
    found: list[Change] = []
    for verb, a, a_end, b, b_end in SequenceMatcher(None, before, after, False).get_opcodes():
        if verb != "equal":
            found += (Change("-", n + 1, before[n]) for n in range(a, a_end))
            found += (Change("+", n + 1, after[n]) for n in range(b, b_end))
    return [Change(c.sign, c.number, _short(c.text)) for c in found[:_MOST]]


def _short(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[:WIDTH]}…"


def _unpacked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """A piece at a time: a small blob may unpack to a thousand times its size."""
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    for chunk in chunks:
        packed = chunk
        while packed and not unpacker.eof:
            yield unpacker.decompress(packed, BYTES)
            packed = unpacker.unconsumed_tail
