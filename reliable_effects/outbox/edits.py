"""
Put another payload in the place of an event's, for one delivery, and redrive it.

What was once sent under a key is what its partner knows by it, so another payload goes under it
only where nothing can have been sent. Else the delivery is started anew, which is a person's to say.
A worker of a release before this one does not know of edits and runs the event's own payload: edit
once the whole fleet is of this release or a later one.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any, NoReturn

from django.db import transaction

from ..conf import settings
from ..effects.event import Event
from ..effects.payloads import BLANKED
from ..effects.registry import registry
from ..exceptions import BadPayload
from . import remedy
from .evidence import surely_did_not_happen
from .models import Attempt, Delivery, OutboxEvent
from .payloads import Payload, PayloadEdit, declared, in_force
from .states import ANEW, Flag, Notes, Reason, State, noted_edit
from .unknown import SINCE

logger = logging.getLogger("reliable_effects")

EDITABLE = ANEW
CHANGED = "it was changed since it was shown, or a worker has it; look again"
_MADE_UP = "reconcile"  # the source of events for what was found to be owed
_UNREADABLE = f"{BadPayload.__module__}.{BadPayload.__qualname__}"


@dataclass(frozen=True, slots=True)
class Terms:
    """What an edit of a delivery would take, as it stands."""

    left_alone: str = ""  # why it cannot be edited; "" where it can
    anew: bool = False  # it gets a new key
    needs_word: bool = False  # only with a person's word that it did not happen


@dataclass(frozen=True, slots=True)
class Edited:
    """What became of the wish. `edit` is None where the delivery was left alone."""

    edit: PayloadEdit | None = None
    anew: bool = False
    left_alone: str = ""


def edit(
    row: Delivery,
    text: str,
    *,
    by: str,
    why: str,
    shown: str = "",
    may_start_anew: bool = False,
    did_not_happen: bool = False,
) -> Edited:
    """
    Redrive *row* with the JSON *text* as its payload. The event, and its other deliveries, stay.

    *shown* is the `stamp` of what the person has seen: where the row is another by now, it is left
    alone. *did_not_happen* is that person's word, where something may have been sent.

    Raises:
        BadPayload: *text* is no payload of the event; nothing was written.
        ValueError: *why* is empty.
    """
    if not why.strip():
        raise ValueError("why= is empty; say why, for whoever reads the history.")
    using = row._state.db or "default"
    rows = Delivery.objects.using(using).filter(pk=row.pk, claim_token=None, state__in=EDITABLE)
    with transaction.atomic(using=using):
        found = rows.select_for_update(skip_locked=True).first()
        if found is None or (shown and stamp(found) != shown):
            return Edited(left_alone=CHANGED)
        event = event_of(found)
        terms = terms_of(found, event)
        left_alone = terms.left_alone or _not_allowed(terms, may_start_anew, did_not_happen)
        if left_alone or event is None:
            return Edited(left_alone=left_alone)
        declaration = declaration_of(found, event)
        made = PayloadEdit(
            delivery_id=found.pk,
            event_id=event.pk,
            payload=checked(text, declaration),
            version=declaration.version,
            generation=found.generation + terms.anew,
            previous=noted_edit(found.notes),
            by=by[:150],
            why=why,
        )
        made.save(using=using, force_insert=True)
        values = remedy.values_with_edit(found, made.pk, anew=terms.anew)
        if rows.filter(state=found.state, generation=found.generation).update(**values) != 1:
            transaction.set_rollback(True, using=using)
            return Edited(left_alone=CHANGED)
    logger.info(
        "edited payload of %s delivery=%d edit=%d anew=%s by=%r why=%r",
        found.effect, found.pk, made.pk, terms.anew, by, why,
    )  # fmt: skip
    remedy.tell_redriven(using, [found], by=by, why=why)
    return Edited(made, terms.anew)


def stamp(row: Delivery) -> str:
    """As the confirm pages of other remedies have it."""
    return remedy.stamp_of(getattr(row, name) for name in remedy.STANDS_BY)


# On what terms


def terms_of(row: Delivery, event: OutboxEvent | None) -> Terms:
    """What an edit of *row* takes. At most four small queries."""
    if problem := _problem(row, event):
        return Terms(problem)
    if event is not None and _never_ran(row, event):
        return Terms()
    # Whatever became of it: a partner that has seen the key has seen it with another payload.
    return Terms(anew=True, needs_word=row.pk not in surely_did_not_happen([row]))


def _problem(row: Delivery, event: OutboxEvent | None) -> str:
    """Why nobody can edit it, whatever they may."""
    if row.state not in EDITABLE:
        return remedy.LEFT_ALONE[remedy.START_ANEW][State(row.state)]
    if event is None:
        return "its event is not in the database, so nobody knows what it is to be read as"
    if event.version <= BLANKED:
        return "its payload was forgotten at somebody's request, and is not written again"
    effect = registry.find_effect(row.effect)
    if effect is None:
        return "this release does not know its effect, so it cannot check a payload for it"
    known = declared(effect, event).version
    found = in_force(row._state.db or "default", row.pk, row.notes, event)
    version = event.version if found is None else found.version
    if version > known:
        return f"its payload is of version {version}, and this release knows {known}"
    return ""


def _not_allowed(terms: Terms, may_start_anew: bool, did_not_happen: bool) -> str:
    if terms.anew and not may_start_anew:
        return "it has run, so another payload needs a new key, and the permission to start anew"
    if terms.needs_word and not did_not_happen:
        return remedy.NEEDS_A_WORD
    return ""


def _never_ran(row: Delivery, event: OutboxEvent) -> bool:
    """Whether the effect was surely never called: it was not claimed, or could not be read then."""
    if event.source == _MADE_UP or row.state == State.UNCERTAIN:
        return False  # what our row said before it was lost, nobody knows; its key is the same
    if not row.flags & Flag.BEGUN:
        return True
    could_not_be_read = row.state == State.POISONED and row.reason == Reason.UNREADABLE
    if not could_not_be_read or row.attempts or row.generation:
        return False
    # Anything else that is noted or flagged is of runs that may have left no attempt behind.
    if row.flags & ~(Flag.BEGUN | Flag.VERIFIABLE):
        return False
    if row.notes is not None and not (
        isinstance(row.notes, dict) and row.notes.keys() <= {SINCE, Notes.EDIT}
    ):
        return False
    attempts = Attempt.objects.using(row._state.db).filter(delivery_id=row.pk)
    unread = attempts.filter(outcome=Attempt.Outcome.REFUSED, exception_type=_UNREADABLE)
    return not attempts.exclude(pk__in=unread.values("pk")).exists()


# What is written


def event_of(row: Delivery) -> OutboxEvent | None:
    return OutboxEvent.objects.using(row._state.db).filter(pk=row.event_id).first()


def declaration_of(row: Delivery, event: OutboxEvent) -> Event[Any, Any]:
    return declared(registry.effect(row.effect), event)


def as_text(row: Delivery, event: OutboxEvent) -> str:
    """
    What the delivery runs with now, as this release declares it, for a person to edit.

    As it is stored where this release cannot read it: that is what has to be mended.
    """
    found = in_force(row._state.db or "default", row.pk, row.notes, event)
    if found is None:
        found = Payload(event.payload, event.version)
    codec = declaration_of(row, event).codec
    try:
        plain = json.loads(codec.dump(codec.load(found.stored, found.version), _limit()))
    except Exception:  # noqa: BLE001  # the project's own types and upcasts are in it
        plain = found.stored
    return pretty(plain)


def pretty(plain: Any) -> str:
    return json.dumps(plain, indent=2, ensure_ascii=False)


def checked(text: str, event: Event[Any, Any]) -> Any:
    """
    *text* as it will be stored: read as the event's payload, in its version of now, and written.

    Raises:
        BadPayload: it names the place and what is wrong with it.
    """
    codec = event.codec

    def refuse(place: str, problem: str) -> NoReturn:
        raise BadPayload(event.name, place, problem) from None

    try:
        given = json.loads(text, parse_constant=lambda name: refuse("", f"has {name}; no JSON."))
    except RecursionError:
        refuse("", "is nested too deeply.")
    except json.JSONDecodeError as error:
        refuse("", f"is no JSON: {error.msg}, in line {error.lineno}, column {error.colno}.")
    except ValueError as error:  # a number of thousands of digits
        refuse("", f"cannot be read: {error}.")
    try:
        plain = json.loads(codec.dump(codec.load(given, codec.version), _limit()))
    except BadPayload:
        raise
    except Exception as error:  # noqa: BLE001  # the project's own types are in it
        refuse("", f"cannot be read: {type(error).__name__}: {error}.")
    if stray := _left_out(given, plain):
        refuse(stray, "is no field of it, and would be left out.")
    return plain


def _limit() -> int:
    return settings().payload_limit


def _left_out(given: Any, kept: Any, place: str = "") -> str:
    """Where *given* has a key that *kept* has not: a slip of the pen, and not what a newer writer added."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            inside = f"{place}.{key}".removeprefix(".")
            if key not in kept:
                return inside
            if found := _left_out(value, kept[key], inside):
                return found
    if isinstance(given, list) and isinstance(kept, list):
        for number, (one, other) in enumerate(zip(given, kept, strict=False)):
            if found := _left_out(one, other, f"{place}[{number}]"):
                return found
    return ""
