"""From a request to its key: read, checked, claimed; or the response to give instead."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db import Error, InterfaceError, OperationalError, connections
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from ..exceptions import InsideTransaction
from ..outbox import outage
from ..outbox.emit import in_open_transaction
from ..outbox.passing import may_pass
from ..outbox.reconnect import mend
from . import problems, settle
from .answers import rendered, replay, say_not_stored, storable
from .claim import Answer, Claimed, Kept, Refused, Request, Unsure, ask, claim
from .fingerprint import TooLarge, fingerprint, read_body
from .handle import Handle
from .header import NAME, read
from .identity import identify
from .options import Idempotency, Resolve
from .problems import Problem

logger = logging.getLogger("reliable_effects")

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # they change nothing, so nothing is kept

_RETRY_AFTER = 5  # seconds: a database that restarts is back by then, or takes long


def wants_a_key(request: HttpRequest, options: Idempotency) -> bool:
    """Whether the layer has anything to say about *request*."""
    return request.method not in SAFE and (options.required or NAME in request.headers)


def early_problem(request: HttpRequest, options: Idempotency) -> Problem | None:
    """
    What is wrong with the header or the size, before anything is asked of the database.

    The body is read here, since whoever authenticates might take it from its stream.
    """
    value = request.headers.get(NAME)
    if value is None:
        return problems.MISSING_KEY if options.required else None
    if read(value, strict=options.is_strict) is None:
        return problems.INVALID_KEY
    try:
        read_body(request)
    except TooLarge:
        return problems.PAYLOAD_TOO_LARGE
    return None


def begin(
    request: Any,
    options: Idempotency,
    using: str,
    view: str,
    *,
    admit: Callable[[], None] = lambda: None,
    check_replay: Callable[[], None] = lambda: None,
    render: Callable[[Any], HttpResponseBase] = rendered,
) -> Handle | HttpResponseBase:
    """
    A handle: run the view. A response: give it, and do not.

    *request* has a key that can be read. *admit* may raise, before anything is claimed, to refuse
    what is no replay; *check_replay* may, before a stored answer is given. *render* makes bytes of what
    `resolve=` returns.

    Raises:
        InsideTransaction: one is open around the view, other than a test's own.
    """
    if in_open_transaction(connections[using]):
        raise InsideTransaction(view, using)
    key = read(request.headers[NAME], strict=options.is_strict)
    identity = identify(request, options)
    if identity is None:
        return problems.IDENTITY_REQUIRED.answer()
    if key is None:
        return problems.INVALID_KEY.answer()
    try:
        material = fingerprint(request, identity.route, options.fingerprint)
    except TooLarge:
        return problems.PAYLOAD_TOO_LARGE.answer()
    asked = ask(using, identity, key, material, options)
    try:
        answer: Answer | HttpResponseBase = claim(asked, admit=admit)
        if isinstance(answer, Unsure) and options.resolve is not None:
            answer = _resolved(request, options.resolve, asked, answer, render)
    except Error as error:
        if not (may_pass(error) or isinstance(error, OperationalError | InterfaceError)):
            raise  # a table that is not there, for one: no client can wait for that
        mend(using)
        outage.tell(f"idempotency keys on {using} cannot be looked up; the view is not run", error)
        return problems.STORE_UNAVAILABLE.answer(retry_after=_RETRY_AFTER)
    if isinstance(answer, Kept):
        check_replay()
    return answer if isinstance(answer, HttpResponseBase) else _told(request, answer)


def _told(request: Any, answer: Answer) -> Handle | HttpResponse:
    match answer:
        case Claimed():
            logger.debug("idempotency record %d begun key=%s", answer.id, answer.key[:8])
            handle = Handle(answer)
            request.idempotency = handle
            return handle
        case Kept():
            return replay(answer)
        case Refused(problem, retry_after):
            return problem.answer(retry_after=retry_after)
        case Unsure():
            return problems.OUTCOME_UNKNOWN.answer()


def _resolved(
    request: Any,
    resolve: Resolve,
    asked: Request,
    unsure: Unsure,
    render: Callable[[Any], HttpResponseBase],
) -> Answer | HttpResponseBase:
    """What the view's `resolve=` makes of a key that is uncertain."""
    known = resolve(request)
    if isinstance(known, HttpResponseBase):
        known = render(known)
        if not asked.options.is_kept(known.status_code):
            say_not_stored(known)
            return known  # of the moment: it says nothing of how the first request ended
    # Where it was settled the key stands otherwise now.
    return claim(asked) if _is_settled(asked.options, asked.using, unsure, known) else unsure


def _is_settled(
    options: Idempotency, using: str, unsure: Unsure, known: HttpResponseBase | bool | None
) -> bool:
    """Whether *known*, which the view's `resolve=` gave, says how it ended; then it is written down."""
    if known is None:
        return False
    if known is False:
        return settle.undone(using, unsure.id, unsure.token, "resolve= says it did not happen")
    answer = None if known is True or unsure.is_forgotten else storable(known, options)
    return settle.done(
        using, unsure.id, unsure.token, "resolve= says it happened",
        key_span=options.key_span, body_span=options.body_span, answer=answer,
    )  # fmt: skip
