"""
Write down that a call is about to be sent, and afterwards what became of it.

`begin` decides under the lock of the delivery's row, and only for who holds its claim: what is not
committed here is not sent. `conclude` says the send's own token, so that whoever was overtaken
writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from ..clock import DbNow, in_utc
from ..conf import settings
from ..effects.keys import call_key
from ..effects.owed import OwedQuery
from ..exceptions import LeaseLost
from ..outbox.claimed import Claimed, new_token
from ..outbox.failures import sanitise
from ..outbox.models import Delivery
from ..outbox.persist import surely
from ..outbox.states import Notes, noted
from .classify import may_have_happened
from .errors import Doubtful, NotSent, RequestChanged
from .models import Known, OutgoingCall


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be sent, as far as it matters to whether it may be."""

    claimed: Claimed
    subject: Any
    key: UUID
    call: str
    target: str
    request_hash: str
    window: timedelta | None
    timeout: timedelta
    deadline: datetime  # of the run

    @property
    def using(self) -> str:
        return self.claimed.using

    @property
    def name(self) -> str:
        return f"call {self.call!r}" if self.call else "the call"


@dataclass(frozen=True, slots=True)
class Begun:
    """It is committed: this may be sent, once."""

    pk: int
    token: int
    before: Known | None  # what was known of it; None: it was never sent
    first_sent_at: datetime
    now: datetime  # by the database's clock


def begin(wish: Wish) -> Begun:
    """
    Commit that it is sent.

    Raises:
        LeaseLost: the delivery is somebody else's.
        RequestChanged: the key was sent with another request.
        Doubtful: it may have happened, and the partner may have forgotten the key.
        NotSent: there is no time left in this run.
    """
    token = new_token()
    return surely(
        wish.using,
        lambda: _begin(wish, token),
        # The commit's answer may be what was lost.
        after_doubt=lambda: _begun_with(wish, token) or _begin(wish, token),
    )


def _begin(wish: Wish, token: int) -> Begun:
    claimed = wish.claimed
    held = Delivery.objects.using(wish.using).filter(pk=claimed.id, claim_token=claimed.token)
    with transaction.atomic(using=wish.using):
        # The lock keeps a rescue out until this is committed.
        now = held.select_for_update().annotate(now=DbNow()).values_list("now", flat=True).first()
        if now is None:
            raise LeaseLost(claimed.id)
        now = in_utc(now)
        if wish.deadline <= now:
            raise NotSent("no time is left in this run, so nothing was sent")
        rows = OutgoingCall.objects.using(wish.using)
        row = rows.select_for_update().filter(key=wish.key).first()
        before = known_of(row, claimed.notes) if row is not None else None
        first = row.first_sent_at if row is not None and may_have_happened(before) else now
        _refuse_another_request(wish, row)
        _refuse_what_is_too_late(wish, before, first, now)
        if row is None:
            _refuse_what_was_forgotten(wish, now)
            row = OutgoingCall(key=wish.key)
        row.delivery_id = claimed.id
        row.call = wish.call
        row.target = wish.target
        row.request_hash = wish.request_hash
        row.first_sent_at = first
        row.last_sent_at = now
        row.safe_until = safe_until(first, wish)
        row.times_sent += 1
        row.known = Known.DONE if before is Known.DONE else Known.UNKNOWN  # until an answer is seen
        row.send_token = token
        row.denial = _denial(claimed.notes)
        row.save(using=wish.using)
    return Begun(row.pk, token, before, first, now)


def _begun_with(wish: Wish, token: int) -> Begun | None:
    """After a lost answer: whether that commit was done. What was known before is not known any more."""
    found = OutgoingCall.objects.using(wish.using).filter(key=wish.key, send_token=token)
    row = found.annotate(now=DbNow()).first()
    if row is None:
        return None
    before = None if row.times_sent == 1 else Known(row.known)
    return Begun(row.pk, token, before, row.first_sent_at, in_utc(row.now))


def conclude(wish: Wish, begun: Begun, known: Known, status: int | None, request_id: str) -> None:
    """
    Write what became of it.

    Raises:
        LeaseLost: it was sent again meanwhile, so this run was overtaken.
    """
    mine = OutgoingCall.objects.using(wish.using).filter(pk=begun.pk, send_token=begun.token)
    told = {"known": known, "status": status, "request_id": sanitise(request_id, 200)}
    if surely(wish.using, lambda: mine.update(**told)) != 1:
        raise LeaseLost(wish.claimed.id)


# What is known


def key_of(sent: UUID, call: str) -> UUID:
    """The key of one call of a delivery whose partners see *sent*."""
    return call_key(sent, call) if call else sent


def known_of(row: OutgoingCall, notes: Any) -> Known:
    """What is known of a call; `verify` or a person may have found since that it did not happen."""
    known, denial = Known(row.known), _denial(notes)
    denied_since = denial is not None and denial != row.denial
    # Not where the partner itself has answered that it is done.
    if denied_since and may_have_happened(known) and known is not Known.DONE:
        return Known.TURNED_AWAY
    return known


def _denial(notes: Any) -> int | None:
    return int(noted(notes, Notes.DENIED)) or None


def safe_until(first_sent_at: datetime, wish: Wish) -> datetime | None:
    """
    Until when a send under this key is surely recognised; None where nobody knows.

    The margin is for clocks that stray, and for the way to the partner: a part of the window, and
    at least the call's own timeout.
    """
    if wish.window is None:
        return None
    margin = max(wish.window * settings().outgoing_margin_percent / 100, wish.timeout)
    return first_sent_at + wish.window - margin


# What is not sent


def _refuse_another_request(wish: Wish, row: OutgoingCall | None) -> None:
    if row is None or row.known == Known.NOT_SENT or row.request_hash == wish.request_hash:
        return
    raise RequestChanged(
        f"{wish.name} to {wish.target} was sent with another address or body under this key on"
        f" {row.first_sent_at:%Y-%m-%d %H:%M} UTC, and was not sent now. Build it from what does not"
        " change; tell two calls of one effect apart with call=; or start the delivery anew."
    )


def _refuse_what_is_too_late(
    wish: Wish, before: Known | None, first: datetime, now: datetime
) -> None:
    if not may_have_happened(before):
        return
    until = safe_until(first, wish)
    if until is not None and now < until:
        return
    why = "nobody knows how long" if until is None else f"only until {until:%Y-%m-%d %H:%M} UTC"
    raise Doubtful(
        f"{wish.name} to {wish.target} may have been carried out ({before}), and the partner surely"
        f" remembers its key {why}. It was not sent again."
    )


def _refuse_what_was_forgotten(wish: Wish, now: datetime) -> None:
    """
    Our rows know of no send. Where they begin later than the debt, there may have been one all the
    same: the tables were lost, and the debt was promised anew. So the window counts from the debt.
    """
    claimed = wish.claimed
    owed, event = claimed.effect.owed_query, claimed.event
    if owed is None or event is None or wish.subject is None or claimed.generation:
        return
    if _denial(claimed.notes) is not None:
        return  # somebody has looked
    since = _since(owed, wish)
    made_up = event.source == "reconcile"
    if since is not None and not made_up and event.emitted_at <= since + max(owed.grace, _AT_ONCE):
        return  # it was promised when it arose, so what was sent since then stands in our rows
    if since is None and not made_up:
        return
    until = safe_until(since, wish) if since is not None else None
    if until is not None and now < until:
        return
    arose = f"{since:%Y-%m-%d %H:%M} UTC" if since is not None else "nobody knows when"
    raise Doubtful(
        f"{wish.name} to {wish.target} is owed since {arose}, and was promised later than that."
        " Should our rows have been lost meanwhile, it may have been sent, and the partner may have"
        " forgotten its key. It was not sent."
    )


def _since(owed: OwedQuery, wish: Wish) -> datetime | None:
    """Since when the subject has been owing. A day is meant from its first moment on."""
    rows = type(wish.subject)._base_manager.using(wish.using)  # Django's documented name
    value = rows.filter(pk=wish.subject.pk).values_list(owed.since, flat=True).first()
    match value:
        case datetime():
            return in_utc(value)
        case date():
            return datetime.combine(value, time(), UTC) - _EARLIEST_ZONE
        case _:
            return None


_EARLIEST_ZONE = timedelta(hours=14)  # a day begins there so much before it does in UTC

_AT_ONCE = timedelta(minutes=1)  # the row is written, and a moment later it is promised
