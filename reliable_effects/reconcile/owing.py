"""
The rows that an owed query names, a chunk at a time, each with the key of its debt.

In: an effect with an owed query, how far to look, and the place to go on from. Nothing is kept but
one chunk, so a million rows take no more memory than five thousand.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import F, Model, Q, QuerySet

from ..effects.effect import Effect
from ..effects.keys import debt_keys
from ..effects.owed import ONCE, OwedQuery

logger = logging.getLogger("reliable_effects")

CHUNK = 5000  # rows read at once

Place = dict[str, str]
"""Of a row: its primary key, and for a walk in the order of `since` that too. It is kept as JSON."""

_SINCE = "re_owing_since"  # beside the subject's own columns


@dataclass(frozen=True, slots=True)
class Span:
    """Owing since before `until`, and from `begins` on; None: however long."""

    until: datetime
    begins: datetime | None = None


class Owing(NamedTuple):  # made a million times in a walk, and a tuple is the quickest to make
    """One row that owes."""

    pk: str  # as rows of ours spell it
    since: Any  # an instant or a date; None where the row does not know
    key: UUID | None  # None: its debt cannot be named
    place: Place


def query_of(effect: Effect[Any, Any]) -> OwedQuery:
    if effect.owed_query is None:
        raise TypeError(f"Effect {effect.name!r} has no owed query.")
    return effect.owed_query


def chunks(
    effect: Effect[Any, Any], using: str, span: Span, after: Place | None
) -> Iterator[list[Owing]]:
    """What owes within *span*, from the row after *after* on. In the order of keys, or of `since`."""
    owed = query_of(effect)
    while True:
        rows = _following(owed, _within(effect, owed, using, span), span, after)
        chunk = list(_named(effect, owed, rows[:CHUNK], span))
        if chunk:
            yield chunk
            after = chunk[-1].place
        if len(chunk) < CHUNK:
            return


def ask_again(effect: Effect[Any, Any], using: str, pks: list[str]) -> dict[str, Model]:
    """Those of the subjects *pks* that owe now, without the grace, by their keys."""
    owing = _rows(effect, query_of(effect), using).filter(pk__in=pks)
    spell = effect.event.speller()
    return {spell(subject.pk): subject for subject in owing}


def _rows(effect: Effect[Any, Any], owed: OwedQuery, using: str) -> QuerySet[Any]:
    model = effect.event.model
    if model is None:
        raise TypeError(f"Effect {effect.name!r} has no subject; only a row can owe something.")
    return owed.rows(model, using)


def _within(effect: Effect[Any, Any], owed: OwedQuery, using: str, span: Span) -> QuerySet[Any]:
    rows = _rows(effect, owed, using)
    if span.begins is not None:
        return rows.filter(**{f"{owed.since}__gte": span.begins, f"{owed.since}__lte": span.until})
    # What does not know since when must not be left out: no later walk would find it either.
    return rows.filter(Q(**{f"{owed.since}__lte": span.until}) | Q(**{owed.since: None}))


def _following(
    owed: OwedQuery, rows: QuerySet[Any], span: Span, after: Place | None
) -> QuerySet[Any]:
    if span.begins is None:
        rows = rows.order_by("pk")
        return rows.filter(pk__gt=after["pk"]) if after else rows
    # By `since`, whose index holds the window together; in the order of keys the database might
    # read the whole table to find what is recent.
    rows = rows.order_by(owed.since, "pk")
    if not after or "since" not in after:
        return rows
    later = Q(**{f"{owed.since}__gt": after["since"]})
    same = Q(**{owed.since: after["since"], "pk__gt": after["pk"]})
    return rows.filter(later | same, **{f"{owed.since}__gte": after["since"]})


def _named(
    effect: Effect[Any, Any], owed: OwedQuery, rows: QuerySet[Any], span: Span
) -> Iterator[Owing]:
    key_of = debt_keys(effect.identity, effect.event.subject_identity)
    spell = effect.event.speller()
    found: Iterator[tuple[Any, Any, Any]]
    if owed.debt is ONCE:  # then nothing else of the row is needed
        found = ((pk, since, None) for pk, since in rows.values_list("pk", owed.since))
    else:
        whole = rows.annotate(**{_SINCE: F(owed.since)})
        found = ((row.pk, getattr(row, _SINCE), row) for row in whole)
    for pk, since, subject in found:
        text = spell(pk)
        place = {"pk": text}
        if span.begins is not None:
            place["since"] = since.isoformat()
        yield Owing(text, since, _key(key_of, owed, text, subject), place)


def _key(key_of: Callable[[str, str], UUID], owed: OwedQuery, pk: str, subject: Any) -> UUID | None:
    try:
        return key_of(pk, owed.debt_of(subject))
    except Exception:  # a project's own function; the others owe all the same
        logger.exception("debt= of %s failed for %s", owed.effect, pk)
        return None
