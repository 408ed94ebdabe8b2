"""A walk that a person asks for: first what it would find and do, then, at their word, done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..clock import read_clock
from ..effects.effect import Effect
from .classify import Found, classify
from .findings import Finding
from .mend import ripeness
from .owing import Span, chunks, query_of
from .walk import mend


@dataclass(slots=True)
class Survey:
    """How many of each kind there are, and about how many of them something would be done."""

    seen: int = 0
    found: Counter[Finding] = field(default_factory=Counter)
    to_mend: Counter[Finding] = field(default_factory=Counter)


def span_since(effect: Effect[Any, Any], using: str, since: datetime | None) -> Span:
    """What began to be owed at *since* or later and is past its grace; None: everything."""
    return Span(until=read_clock(using) - query_of(effect).grace, begins=since)


def survey(effect: Effect[Any, Any], using: str, span: Span) -> Iterator[Survey]:
    """Reads only. The same object after each chunk, for who shows progress; the last is the whole."""
    known = Survey()
    is_ripe = ripeness(effect, using)
    yield known
    for found in _found(effect, using, span):
        known.seen += len(found)
        known.found.update(each.finding for each in found)
        known.to_mend.update(each.finding for each in found if is_ripe(each))
        yield known


def mend_all(effect: Effect[Any, Any], using: str, span: Span, limit: int) -> Iterator[int]:
    """Promise and reopen up to *limit* deliveries; how many by now, after each chunk."""
    done = 0
    is_ripe = ripeness(effect, using)
    for found in _found(effect, using, span):
        if done >= limit:
            return
        ripe = [each for each in found if is_ripe(each)]
        done += len(mend(effect, using, ripe[: limit - done]))
        yield done


def _found(effect: Effect[Any, Any], using: str, span: Span) -> Iterator[list[Found]]:
    for chunk in chunks(effect, using, span, None):
        yield classify(effect, using, chunk)
