"""
Run a view under its key: one transaction for what it writes, what it emits, and its answer.

What is committed is what is kept: an answer that would not be given again (a server error, an
exception, one of IDEMPOTENCY_NOT_STORED) takes everything back that was written for it, and the key
is released. Client errors that are raised are kept after the rollback, unless another system was
called: that one took nothing back, so the key is uncertain. In any doubt about a COMMIT the record
is asked.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.handlers.exception import response_for_exception
from django.db import Error, connections, transaction
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

from ..exceptions import KeyTakenOver
from ..outbox import outage
from ..outbox.passing import may_pass
from ..outbox.persist import surely
from ..outbox.reconnect import mend, reconnect
from . import problems
from .answers import Storable, rendered, say_not_stored, storable
from .claim import PATIENCE, leave_uncertain
from .finish import complete, is_done, release
from .handle import Handle

logger = logging.getLogger("reliable_effects")


class Execution:
    """The transaction of one request: entered by `start`, left by `end` or by `fail`."""

    def __init__(self, request: HttpRequest, handle: Handle) -> None:
        self._request, self._handle = request, handle
        self._claimed = handle.claimed
        self._open = ExitStack()

    def start(self) -> None:
        try:
            self._open.enter_context(transaction.atomic(using=self._claimed.using))
        except BaseException:
            self._let_go()
            raise

    def end(self, response: Any, *, roll_back: bool = False) -> HttpResponseBase:
        """
        The view returned *response*. `roll_back`: it stands for an exception that somebody caught.

        Raises:
            DatabaseError, InterfaceError: nothing was committed, or nobody knows; the record does.
        """
        answer: Storable | None = None
        try:
            with self._open.pop_all():
                response = rendered(response)
                answer = self._storable(response)
                if answer is None or roll_back or self._is_spoiled(response):
                    raise _RollBack  # noqa: TRY301  # it is how the block ends
                if not complete(self._claimed, answer):
                    raise KeyTakenOver(self._claimed.id)  # noqa: TRY301  # see above
        except _RollBack:
            return self._end_without(response, answer)
        except KeyTakenOver:
            return self._taken_over()
        except BaseException as error:
            # What cannot pass is no lost answer to a COMMIT, but the defect of a hook after it.
            if may_pass(error) and answer is not None and self._was_committed():
                what = "an idempotent request was committed in spite of an error"
                outage.tell(f"{what}; its on_commit hooks did not all run", error)
                return self._said(response, answer)
            self._let_go(error)
            raise
        return self._said(response, answer)

    def fail(self, error: BaseException) -> HttpResponseBase:
        """
        The view raised *error*: what it wrote is rolled back. The answer, where one is kept.

        Raises:
            BaseException: *error*, where its answer is Django's to give.
        """
        try:
            with self._open.pop_all():
                raise error  # noqa: TRY301  # through the transaction, so that it is rolled back
        except BaseException as raised:
            status = _status_of(raised)
            if status is None or self._handle.is_sent or not self._claimed.options.is_kept(status):
                self._let_go(raised)
                raise
        try:
            response = rendered(response_for_exception(self._request, error))  # type: ignore[arg-type]  # no bare BaseException has a status
            return self._end_without(response, self._storable(response))
        except BaseException as raised:
            self._let_go(raised)
            raise

    # How it ends

    def _end_without(self, response: HttpResponseBase, answer: Storable | None) -> HttpResponseBase:
        """
        All was rolled back. The answer is kept all the same, or the key is released.

        Where another system was called it is uncertain: no answer can say that nothing was done.
        """
        self._roll_back_elsewhere()
        if answer is None or self._handle.is_sent:
            say_not_stored(response)
            self._let_go()
            return response
        try:
            is_kept = surely(
                self._claimed.using,
                lambda: complete(self._claimed, answer),
                after_doubt=lambda: is_done(self._claimed) or complete(self._claimed, answer),
                patience=PATIENCE,
            )
        except Error as error:  # it is true all the same, and nothing was written
            outage.tell("a client's error could not be kept; its lease ends the key", error)
            mend(self._claimed.using)
            return self._said(response, None)
        return self._said(response, answer) if is_kept else self._taken_over()

    def _said(self, response: HttpResponseBase, answer: Storable | None) -> HttpResponseBase:
        if answer is None or answer.omitted:
            say_not_stored(response)
        return response

    def _taken_over(self) -> HttpResponseBase:
        self._roll_back_elsewhere()
        logger.error("%s", KeyTakenOver(self._claimed.id))
        return problems.CONFLICT.answer(retry_after=1)

    def _roll_back_elsewhere(self) -> None:
        """On each alias where Django's transaction is open around us, as REST framework does."""
        for other in connections.all(initialized_only=True):
            is_djangos = other.settings_dict["ATOMIC_REQUESTS"] and other.in_atomic_block
            if is_djangos and other.alias != self._claimed.using:
                other.set_rollback(True)

    def _let_go(self, error: BaseException | None = None) -> None:
        """Release the key, or leave it uncertain; where that fails, its lease does."""
        claimed = self._claimed
        try:
            if error is not None and isinstance(error, Error):
                mend(claimed.using)
            if self._handle.is_sent:
                why = "the view failed after it had called another system"
                leave_uncertain(claimed.using, claimed.id, claimed.token, why)
            else:
                release(claimed)
        except Error as another:
            outage.tell("an idempotency key could not be released; its lease ends it", another)
            mend(claimed.using)

    # What there is to know

    def _storable(self, response: HttpResponseBase) -> Storable | None:
        options = self._claimed.options
        if not options.is_kept(response.status_code):
            return None
        # Django's mark that the response has the secret of a cookie in it: of one browser, and now.
        has_csrf_token = bool(self._request.META.get("CSRF_COOKIE_NEEDS_UPDATE"))
        return storable(response, options, is_secret=has_csrf_token)

    def _is_spoiled(self, response: HttpResponseBase) -> bool:
        """
        Whether the view asked for a rollback with its error, or the answer is a server's error.

        A success whose transaction cannot be committed is none: its completion raises.
        """
        is_error = response.status_code >= 400  # noqa: PLR2004  # the first of them
        is_ours = response.status_code >= 500  # noqa: PLR2004  # the server's
        return is_ours or (is_error and connections[self._claimed.using].needs_rollback)

    def _was_committed(self) -> bool:
        """After an error: the commit may have been done, and only its answer lost."""
        claimed = self._claimed
        try:
            if not connections[claimed.using].in_atomic_block:
                reconnect(claimed.using)
            return surely(claimed.using, lambda: is_done(claimed), patience=PATIENCE)
        except Error as error:
            outage.tell("whether an idempotent request was committed cannot be asked", error)
            return False


class _RollBack(Exception):
    """Ends the block of a transaction, and nothing else."""


def _status_of(error: BaseException) -> int | None:
    """What Django answers for *error* outside the view; None where it is none of ours to answer."""
    if isinstance(error, Http404):
        return 404
    if isinstance(error, BadRequest | SuspiciousOperation):
        return 400
    if isinstance(error, PermissionDenied):
        return 403
    return 500 if isinstance(error, Exception) else None
