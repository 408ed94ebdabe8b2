"""
How it goes with what a row has set off, in words for the people it concerns.

The words are those of the status documents of `reliable_effects.rest_framework`, and like these
they tell no error, no payload and no attempt; nor a name that the project has not given itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ..effects.other_names import known_label, of_effects
from ..effects.registry import registry
from ..outbox.about import deliveries_about
from ..outbox.outward import Outward, of_event, with_outward

_LOOKED_AT = 500  # deliveries about one row, the newest

_AGAIN = _("being tried again")
_WORDS: Mapping[Outward, str | Promise] = {
    Outward.PENDING: _("waiting"),
    Outward.RUNNING: _("in progress"),
    Outward.SUCCEEDED: _("done"),
    Outward.FAILED: _("could not be done"),
    Outward.CANCELLED: _("given up"),
    Outward.NEEDS_REVIEW: _("needs attention"),
}
_ELSE = _("Everything else")


@dataclass(frozen=True, slots=True)
class Told:
    """One thing, or all that has no label; `status` is the word that the API has for it."""

    label: str | Promise
    status: Outward
    words: str | Promise


def told_of(
    subject: Model, *, only: Collection[str] = (), labels: Mapping[str, str] | None = None
) -> list[Told]:
    """
    How the newest delivery of each effect about *subject* stands, in two queries.

    only: names of effects; the others are not heard of. labels: what effects are called here, by
    any of their names, in the order in which they are told; what has none is told in one line.
    """
    labels = labels or {}
    rows = deliveries_about(subject)
    if only:
        rows = rows.filter(effect__in=of_effects(only))
    newest: dict[str, tuple[Outward, bool]] = {}
    columns = ("effect", "outward", "attempts")
    for name, word, attempts in with_outward(rows).values_list(*columns)[:_LOOKED_AT]:
        is_retried = word == Outward.PENDING and attempts > 0
        newest.setdefault(_current(name), (Outward(word), is_retried))
    by_label: dict[str, list[tuple[Outward, bool]]] = {label: [] for label in labels.values()}
    unnamed: list[tuple[Outward, bool]] = []
    for name, found in newest.items():
        label = known_label(name, labels)
        (unnamed if label is None else by_label[label]).append(found)
    told = [_told(label, alike) for label, alike in by_label.items() if alike]
    if unnamed:
        told.append(_told(_ELSE if told else "", unnamed))
    return told


def _current(name: str) -> str:
    known = registry.find_effect(name)
    return known.name if known else name


def _told(label: Any, alike: Collection[tuple[Outward, bool]]) -> Told:
    status = of_event({word for word, _again in alike})
    waits = status == Outward.PENDING
    again = waits and any(is_retried for _, is_retried in alike)
    return Told(label, status, _AGAIN if again else _WORDS[status])
