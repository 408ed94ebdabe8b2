"""
`ctx.send`: one request under one key, and what becomes of it written down before and after.

Between the two commits of `ledger` lies the only moment in which something is sent. A process that
dies there leaves a row that says "it may have been carried out", which is the truth.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any, assert_never

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..conf import LONGEST_SPAN, settings
from ..effects.keys import outgoing_key
from ..effects.sending import Call
from ..exceptions import SentInsideTransaction
from ..outbox.claimed import Claimed
from ..outbox.emit import in_open_transaction
from . import clients, ledger
from .answers import Answer, Exchanged, Unsent
from .classify import Next, Verdict, classify, may_have_happened
from .errors import (
    AnswerLost,
    Doubtful,
    NotSent,
    Refused,
    RequestChanged,
    SendError,
    TryLater,
    Unavailable,
)
from .request import build, digest, target

logger = logging.getLogger("reliable_effects")

_LONGEST_NAME = 100  # characters of a name, in a row


class PartnerSender:
    """What `ctx.send` calls; see `effects.sending.Sender`, and `EffectContext.send` for people."""

    def send(self, call: Call, *, claimed: Claimed, subject: Any, deadline: datetime) -> Any:
        _refuse_where_nothing_may_be_sent(claimed)
        _check(call)
        exchange = clients.exchange_of(call.client)
        request = build(call.method, call.url, json=call.json, data=call.data, headers=call.headers)
        sent_as = outgoing_key(claimed.key, claimed.generation)
        key = ledger.key_of(sent_as, call.name)
        wish = ledger.Wish(
            claimed=claimed,
            subject=subject,
            key=key,
            call=call.name,
            target=target(request),
            request_hash=digest(request, key.bytes),
            window=call.window,
            timeout=call.timeout or settings().outgoing_timeout,
            deadline=deadline,
        )
        if call.key is not None:
            # What cannot be put there fails here, before it stands in a row as sent.
            call.key.put(request, str(key), deadline)
        begun = ledger.begin(wish)
        if call.key is not None:
            request = call.key.put(request, str(key), begun.first_sent_at)
        if begun.now < deadline:
            seen = exchange(request, _limits(wish, begun), call.client)
        else:  # the answer of the commit was lost, and the time with it
            seen = Unsent("no time is left in this run")
        verdict = classify(seen, begun.before, keyed=call.window is not None)
        _write(wish, begun, seen, verdict)
        return _told(wish, seen, verdict, begun)


def _refuse_where_nothing_may_be_sent(claimed: Claimed) -> None:
    for connection in connections.all(initialized_only=True):
        if in_open_transaction(connection) or _is_managed_by_hand(connection):
            raise SentInsideTransaction(connection.alias, atomic=claimed.effect.atomic)
    if claimed.verifying:
        raise RuntimeError("verify= asks what became of a call; ctx.send() would make it again.")


def _is_managed_by_hand(connection: BaseDatabaseWrapper) -> bool:
    """`set_autocommit(False)`: a transaction as well, though no block says so."""
    is_open = connection.connection is not None and not connection.in_atomic_block
    return is_open and not connection.autocommit


def _check(call: Call) -> None:
    """
    Raises:
        TypeError, ValueError: an argument of `ctx.send`, named.
    """
    if call.key is not None and not callable(getattr(call.key, "put", None)):
        raise TypeError(f"key={call.key!r}; say where it goes: Header('Idempotency-Key'), for one.")
    if call.key is None and call.window is not None:
        raise ValueError("window= says how long a partner remembers keys, and key=None sends none.")
    for name, span in (("window", call.window), ("timeout", call.timeout)):
        if span is None:
            continue
        if not isinstance(span, timedelta) or not timedelta(0) < span <= LONGEST_SPAN:
            raise ValueError(
                f"{name}={span!r}; give a positive timedelta of at most {LONGEST_SPAN.days} days."
            )
    if not isinstance(call.name, str) or len(call.name) > _LONGEST_NAME:
        raise ValueError(f"call={call.name!r}; give a name of at most {_LONGEST_NAME} characters.")


def _limits(wish: ledger.Wish, begun: ledger.Begun) -> clients.Limits:
    """Connecting and the answer together never take longer than is left of the run."""
    left = (wish.deadline - begun.now).total_seconds()
    connect = min(settings().outgoing_connect_timeout.total_seconds(), left / 2)
    return clients.Limits(
        connect=connect,
        answer=min(wish.timeout.total_seconds(), left - connect),
        body=settings().outgoing_answer_limit,
    )


def _write(wish: ledger.Wish, begun: ledger.Begun, seen: Exchanged, verdict: Verdict) -> None:
    status = None if isinstance(seen, Unsent) else seen.status
    request_id = seen.request_id if isinstance(seen, Answer) else ""
    ledger.conclude(wish, begun, verdict.known, status, request_id)
    logger.info(
        "sent %s delivery=%d call=%s %s", wish.target, wish.claimed.id, wish.call or "-", verdict.known
    )  # fmt: skip


def _told(wish: ledger.Wish, seen: Exchanged, verdict: Verdict, begun: ledger.Begun) -> Any:
    response = seen.response if isinstance(seen, Answer) else None
    if verdict.next is Next.RETURN:
        return response
    status = None if isinstance(seen, Unsent) else seen.status
    raise _error(wish, seen, verdict, begun).answered(response, status)


def _error(wish: ledger.Wish, seen: Exchanged, verdict: Verdict, begun: ledger.Begun) -> SendError:
    """What the effect is told. Its text is stored, so it says nothing of keys, headers and bodies."""
    why = f"{wish.name} to {wish.target}: {verdict.why}"
    match verdict.next:
        case Next.RETURN | Next.RETRY:
            return _again(wish, seen, verdict, begun, why)
        case Next.GIVE_UP:
            return Refused(why)
        case Next.CHANGED:
            return RequestChanged(why)
        case Next.ASK:
            return Doubtful(why)
        case _:
            assert_never(verdict.next)


def _again(
    wish: ledger.Wish, seen: Exchanged, verdict: Verdict, begun: ledger.Begun, why: str
) -> SendError:
    if isinstance(seen, Answer):
        wait = seen.wait(begun.now, settings().outgoing_longest_wait)
        if wait is not None:
            return TryLater(why, wait)
    is_last = wish.claimed.attempt >= wish.claimed.effect.max_attempts
    if is_last and may_have_happened(verdict.known):
        return Doubtful(f"{why}; and no attempt is left")
    if isinstance(seen, Unsent):
        return NotSent(why)
    return Unavailable(why) if isinstance(seen, Answer) else AnswerLost(why)
