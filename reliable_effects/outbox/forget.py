"""
Blank what is kept about one subject, where a person asks to be forgotten.

Payloads of its events and the texts of errors go; rows, states and keys stay, since they say what
was done and keep it from being done again. A blanked payload is of version 0, which no release can
read: a delivery that is redriven all the same ends as UNREADABLE.

What still needs its payload is left alone, and told: the erasure at a partner may be among it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Protocol
from uuid import UUID

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import Error, connections, transaction
from django.db.models import Model

from ..conf import settings
from ..effects.payloads import BLANKED
from ..effects.registry import registry
from . import remedy
from .models import Attempt, Delivery, DeliveryQuerySet, OutboxEvent
from .payloads import PayloadEdit
from .reconnect import mend
from .states import State
from .unknown import SINCE

logger = logging.getLogger("reliable_effects")

MARK = {"__forgotten__": True}
"""What stands in place of a payload, for people; the version tells the code."""
MARK_TEXT = "(forgotten)"

LISTED = 1000  # deliveries that are named one by one; the others are counted

_BATCH = 200  # events in one transaction
_GIVEN_UP = (State.PENDING, State.UNCERTAIN)
_UNFINISHED = (State.RUNNING, *_GIVEN_UP)
_SUBJECT = re.compile(r"(?P<label>\w+\.\w+):(?P<pk>.+)")


@dataclass(frozen=True, slots=True)
class Left:
    """A delivery that still needs its payload."""

    id: int
    effect: str
    state: State


@dataclass(slots=True)
class Share:
    """What another table had about the subject: rows blanked, and rows that had to be left."""

    blanked: int = 0
    left: int = 0


@dataclass(slots=True)
class Forgotten:
    """What was blanked, or would be; and what could not be."""

    events: int = 0  # payloads
    edits: int = 0  # payloads that people have put in the place of those
    attempts: int = 0  # of whose errors nothing is left but their type
    notes: int = 0  # of deliveries
    cancelled: int = 0  # deliveries that were given up for it
    poisoned: int = 0  # deliveries that nobody can redrive any more
    others: dict[str, Share] = field(default_factory=dict)  # by the name of their table
    left: list[Left] = field(default_factory=list)  # the first of them
    left_in_all: int = 0
    failed: int = 0  # events that the database would not change

    @property
    def is_complete(self) -> bool:
        others = any(share.left for share in self.others.values())
        return not (self.left_in_all or self.failed or others)


class Blank(Protocol):
    """How a floor above blanks its own rows about one subject: in batches, and idempotent."""

    def __call__(
        self, using: str, label: str, pk: str, *, even_pending: bool, dry_run: bool
    ) -> Share: ...


_others: dict[str, Blank] = {}


def also(table: str, blank: Blank) -> None:
    """Blank rows of *table* too, whenever a subject is forgotten. `apps.ready()` calls it."""
    _others[table] = blank


def forget(
    subject: Model | str,
    *,
    by: str,
    why: str,
    using: str | None = None,
    even_pending: bool = False,
    dry_run: bool = False,
) -> Forgotten:
    """
    Blank the payloads and error texts that are kept about *subject*, a row or "shop.User:42".

    Found under every name that its model has had (`Event(subject_aliases=…)`). Events with a
    delivery that still has to run are left alone; `even_pending` cancels those that wait, so that
    only what runs at this moment is left. Twice is once. *by* and *why* go to the log.

    Raises:
        ValueError: nobody knows such a subject, *why* is empty, or *using* is not swept.
    """
    if not why.strip():
        raise ValueError("why= is empty; say why, for whoever reads the log.")
    alias = using or settings().databases[0]
    if alias not in settings().databases:
        raise ValueError(f"using={alias!r} is not in RELIABLE_EFFECTS['DATABASES'].")
    labels, pks = named(subject, alias)
    wish = _Wish(alias, by, why, even_pending, dry_run)
    forgotten = Forgotten()
    for ids in _batches(alias, labels, pks):
        _forget_batch(wish, ids, forgotten)
    for table, blank in _others.items():
        shares = [
            blank(alias, label, pk, even_pending=even_pending, dry_run=dry_run)
            for label in labels
            for pk in pks
        ]
        forgotten.others[table] = Share(
            sum(share.blanked for share in shares), sum(share.left for share in shares)
        )
    if not dry_run:
        logger.info(
            "forgot %s:%s on %s events=%d attempts=%d notes=%d edits=%d cancelled=%d others=%d"
            " left=%d by=%r why=%r",
            labels[0], pks[0], alias, forgotten.events, forgotten.attempts, forgotten.notes,
            forgotten.edits, forgotten.cancelled, sum(share.blanked for share in forgotten.others.values()),
            forgotten.left_in_all, by, why,
        )  # fmt: skip
    return forgotten


# Who is meant


def named(subject: Model | str, using: str) -> tuple[list[str], list[str]]:
    """
    Every label and every spelling of the primary key under which rows may name *subject*.

    Raises:
        ValueError: no such model is installed or declared, and no row has such a subject.
    """
    if isinstance(subject, Model):
        label, given = subject._meta.label_lower, str(subject.pk)
        if subject.pk is None:
            raise ValueError(f"{subject!r} has no primary key. Name it: '{label}:42'.")
    else:
        match = _SUBJECT.fullmatch(subject.strip())
        if match is None:
            raise ValueError(f"{subject!r} names no row. Write it like 'shop.User:42'.")
        label, given = match["label"].lower(), match["pk"].strip()
    labels = _all_labels(label)
    events = OutboxEvent.objects.using(using)
    if labels == [label] and label not in _known_labels():
        if not events.filter(subject_model=label).exists():
            close = get_close_matches(label, _known_labels(), n=1)
            meant = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"No model and no event has the label {label!r}.{meant}")
        return labels, [given]
    spelled = _as_key(labels, given)
    if spelled is None and not events.filter(subject_model__in=labels, subject_pk=given).exists():
        raise ValueError(f"{given!r} is no primary key of {label!r}, and no event has it.")
    return labels, list(dict.fromkeys([spelled or given, given]))


def _all_labels(label: str) -> list[str]:
    """*label* first, then what its model was and is called, here and by its proxies."""
    found = [label]
    groups = [*_declared_labels(), *_same_tables()]
    for known in found:  # grows: a rename of a rename
        for group in groups:
            if known in group:
                found += [other for other in group if other not in found]
    return found


def _declared_labels() -> Iterator[tuple[str, ...]]:
    for event in (*registry.events(), *(effect.event for effect in registry.effects())):
        if event.subject:
            yield (event.subject_label, *event.subject_aliases)


def _same_tables() -> Iterator[tuple[str, ...]]:
    by_table: dict[Any, list[str]] = {}
    for model in apps.get_models():
        by_table.setdefault(model._meta.concrete_model, []).append(model._meta.label_lower)
    return (tuple(labels) for labels in by_table.values() if len(labels) > 1)


def _known_labels() -> list[str]:
    installed = [model._meta.label_lower for model in apps.get_models()]
    return [*installed, *(label for group in _declared_labels() for label in group)]


def _as_key(labels: Sequence[str], given: str) -> str | None:
    """*given* as emit spells the primary key; None where the model can have no such key."""
    for label in labels:
        try:
            model = apps.get_model(label)
        except LookupError:
            continue
        try:
            return str(model._meta.pk.to_python(given))
        except ValidationError:
            return None
    return given  # the model is gone


# What is blanked


@dataclass(frozen=True, slots=True)
class _Wish:
    using: str
    by: str
    why: str
    even_pending: bool
    dry_run: bool


def _batches(using: str, labels: Sequence[str], pks: Sequence[str]) -> Iterator[list[UUID]]:
    # All ids of a subject at once: in the order of any column but the index's own the database
    # might read the whole table for the first of them.
    events = OutboxEvent.objects.using(using).order_by()
    ids = list(
        events.filter(subject_model__in=labels, subject_pk__in=pks).values_list("pk", flat=True)
    )
    for start in range(0, len(ids), _BATCH):
        yield ids[start : start + _BATCH]


def _forget_batch(wish: _Wish, ids: Sequence[UUID], forgotten: Forgotten) -> None:
    try:
        _cancel_and_blank(wish, ids, forgotten)
    except Error:
        if connections[wish.using].in_atomic_block:
            raise  # the caller's transaction, and it is spoiled
        mend(wish.using)
        if len(ids) > 1:  # one of them cannot be changed: the others can
            for one in ids:
                _forget_batch(wish, [one], forgotten)
            return
        logger.exception("could not forget event %s; the others go on", ids[0])
        forgotten.failed += 1


def _cancel_and_blank(wish: _Wish, ids: Sequence[UUID], forgotten: Forgotten) -> None:
    rows: DeliveryQuerySet = Delivery.objects.using(wish.using).filter(event_id__in=ids)
    if wish.even_pending and not wish.dry_run:
        waiting = rows.filter(state__in=_GIVEN_UP).order_by("pk")
        forgotten.cancelled += len(remedy.cancel(waiting, by=wish.by, why=wish.why))
    share = Forgotten()
    with transaction.atomic(using=wish.using):
        # Whoever holds a lock is at work on its row: then it is as if it ran.
        held = rows.only("event_id", "effect", "state", "notes", "flags").order_by("pk")
        locked = {row.pk: row for row in held.select_for_update(skip_locked=True)}
        busy = _busy(wish, rows, locked, share)
        free = [event_id for event_id in ids if event_id not in busy]
        ended = [row for row in locked.values() if row.event_id not in busy]
        blanked = _blank_events(wish, free)
        share.events = len(blanked)
        share.poisoned = sum(
            row.state == State.POISONED for row in ended if row.event_id in blanked
        )
        share.attempts = _blank_attempts(wish, list(locked))
        share.edits = _blank_edits(wish, [row.pk for row in ended])
        share.notes = _blank_notes(wish, ended)
    for count in ("events", "edits", "attempts", "notes", "cancelled", "poisoned", "left_in_all"):
        setattr(forgotten, count, getattr(forgotten, count) + getattr(share, count))
    forgotten.left += share.left[: LISTED - len(forgotten.left)]


def _busy(
    wish: _Wish, rows: DeliveryQuerySet, locked: dict[int, Delivery], share: Forgotten
) -> set[UUID]:
    """Events with a delivery that still needs their payload."""
    given_up = _GIVEN_UP if wish.even_pending and wish.dry_run else ()
    busy: set[UUID] = set()
    # Read after the locks were taken: what was inserted meanwhile is locked by nobody, and counts.
    known = rows.order_by("pk").values_list("pk", "event_id", "effect", "state")
    for pk, event_id, effect, state in known:
        mine = locked.get(pk)
        now = State(state if mine is None else mine.state)
        if mine is not None and now in given_up:
            share.cancelled += 1
        elif mine is None or now in _UNFINISHED:
            busy.add(event_id)
            share.left.append(Left(pk, effect, now))
    share.left_in_all = len(share.left)
    return busy


def _blank_events(wish: _Wish, ids: Sequence[UUID]) -> set[UUID]:
    events = OutboxEvent.objects.using(wish.using).filter(pk__in=ids)
    telling = set(events.filter(version__gt=BLANKED).values_list("pk", flat=True))
    if telling and not wish.dry_run:
        # The trace id leads to what other systems have written down about the same person.
        events.filter(pk__in=telling).update(payload=MARK, version=BLANKED, trace_id="")
    return telling


def _blank_edits(wish: _Wish, delivery_ids: Sequence[int]) -> int:
    """Of what ended; that they were made, and by whom, stays, as it does in the admin's history."""
    edits = PayloadEdit.objects.using(wish.using).filter(delivery_id__in=delivery_ids)
    telling = edits.filter(version__gt=BLANKED)
    if wish.dry_run:
        return telling.count()
    return telling.update(payload=MARK, version=BLANKED, why=MARK_TEXT)


def _blank_attempts(wish: _Wish, delivery_ids: Sequence[int]) -> int:
    attempts = Attempt.objects.using(wish.using).filter(delivery_id__in=delivery_ids)
    telling = attempts.exclude(message__in=("", MARK_TEXT), traceback="")
    if wish.dry_run:
        return telling.count()
    return telling.update(message=MARK_TEXT, traceback="")


def _blank_notes(wish: _Wish, ended: Sequence[Delivery]) -> int:
    """Numbers, and since when a name was unknown, say nothing of a person; anything else might."""
    blanked = 0
    for row in ended:
        kept = _numbers(row.notes)
        if kept == row.notes:
            continue
        blanked += 1
        if not wish.dry_run:
            Delivery.objects.using(wish.using).filter(pk=row.pk, claim_token=None).update(
                notes=kept
            )
    return blanked


def _numbers(notes: Any) -> dict[str, Any] | None:
    if not isinstance(notes, dict):
        return None
    return {
        name: value
        for name, value in notes.items()
        if name == SINCE or isinstance(value, int | float)
    } or None
