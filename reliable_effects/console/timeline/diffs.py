"""What differs between two texts, line by line, in a time that is bounded whatever they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

_AROUND = 3  # lines that are alike, before and after what differs
_COMPARED = 1000  # lines; the comparison takes their square, and more are shown as all other


@dataclass(frozen=True, slots=True)
class Line:
    mark: str  # "+", "-", " ", or "…" for lines that are alike and left out
    text: str


def lines(old: str, new: str) -> list[Line]:
    """How *new* comes of *old*."""
    before, after = old.splitlines(), new.splitlines()
    head = _alike(before, after)
    tail = _alike(before[head:][::-1], after[head:][::-1])
    return [
        *_context(before[:head], at_end=True),
        *_middle(before[head : len(before) - tail], after[head : len(after) - tail]),
        *_context(before[len(before) - tail :], at_end=False),
    ]


def _alike(before: list[str], after: list[str]) -> int:
    count = 0
    for one, other in zip(before, after, strict=False):
        if one != other:
            break
        count += 1
    return count


def _context(alike: list[str], *, at_end: bool) -> Iterator[Line]:
    shown = alike[-_AROUND:] if at_end else alike[:_AROUND]
    left_out = Line("…", f"{len(alike) - len(shown)} lines that are alike")
    if at_end and len(shown) < len(alike):
        yield left_out
    yield from (Line(" ", text) for text in shown)
    if not at_end and len(shown) < len(alike):
        yield left_out


def _middle(before: list[str], after: list[str]) -> Iterator[Line]:
    if max(len(before), len(after)) > _COMPARED:
        yield from (Line("-", text) for text in before)
        yield from (Line("+", text) for text in after)
        return
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, before, after).get_opcodes():
        if tag == "equal":
            alike = before[i1:i2]
            if len(alike) > 2 * _AROUND:
                yield from (Line(" ", text) for text in alike[:_AROUND])
                yield from _context(alike[_AROUND:], at_end=True)
            else:
                yield from (Line(" ", text) for text in alike)
        else:
            yield from (Line("-", text) for text in before[i1:i2])
            yield from (Line("+", text) for text in after[j1:j2])
