"""Write how a run ended, and tell who listens: first the commit, then log and signal."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any, assert_never

from django.dispatch import Signal
from django.utils import timezone

from .. import signals
from ..conf import settings
from ..effects.outcomes import Uncertain
from ..exceptions import EffectTimeout
from . import evidence, finish, tell, unknown
from .claimed import Claimed
from .models import Attempt
from .run import is_still_needed
from .states import Notes, Reason, noted
from .subjects import MISSING, load_subject
from .succeed import succeed
from .verdicts import (
    DidNotHappen,
    Failed,
    Interrupted,
    NotForThisRelease,
    Refused,
    Skipped,
    Snoozed,
    Succeeded,
    Unsure,
    Verdict,
)

logger = logging.getLogger("reliable_effects")


# Nobody has said that it did not happen: there was no attempt left to find out.
_ENDS_OF_PATIENCE = (Reason.ATTEMPTS_SPENT, Reason.KILLED_WORKERS, Reason.TIMED_OUT)


def may_be_joined(claimed: Claimed, verdict: Verdict) -> bool:
    """Whether this success may be written together with the next claim: nobody waits to hear it."""
    return (
        isinstance(verdict, Succeeded)
        and not verdict.written
        and not signals.delivery_succeeded.has_listeners(claimed.effect)
    )


def settle(claimed: Claimed, verdict: Verdict) -> None:  # noqa: C901  # one for each verdict
    """Write *verdict*. Where the lease is lost nothing is written, and nothing told."""
    match verdict:
        case Succeeded():
            won = verdict.written or succeed(claimed)
            tell_success(claimed, verdict, won=won)
        case Skipped(reason, exception):
            if _skip(claimed, reason, exception):
                logger.info("skipped %s delivery=%d %s", claimed.effect.name, claimed.id, reason)
                _tell(signals.delivery_skipped, claimed, reason=str(reason))
        case Failed(exception):
            _settle_failure(claimed, exception)
        case Refused(reason) if reason in _ENDS_OF_PATIENCE and evidence.is_in_doubt(claimed):
            _settle_doubt(
                claimed, Uncertain(f"{reason.label}; and what was sent may have happened")
            )
        case Refused(reason, exception, message, begun):
            _poison(claimed, reason, Attempt.Outcome.REFUSED, exception, message, begun=begun)
        case Snoozed(span):
            _settle_snooze(claimed, span)
        case Unsure(exception):
            _settle_doubt(claimed, exception)
        case DidNotHappen():
            _settle_did_not_happen(claimed)
        case Interrupted(exception):
            _settle_interruption(claimed, exception)
        case NotForThisRelease():
            unknown.put_back(claimed)
        case _:
            assert_never(verdict)


def _skip(claimed: Claimed, reason: Reason, exception: BaseException | None) -> bool:
    if reason is not Reason.NOT_NEEDED or claimed.effect.owed_query is None:
        return finish.skip(claimed, reason, exception)

    def is_needed_after_all() -> bool:
        assert claimed.event is not None  # noqa: S101  # it was read to come here
        subject = load_subject(claimed, claimed.event)
        return subject is not MISSING and is_still_needed(claimed.effect, subject, claimed.using)

    try:
        return finish.skip_debt(claimed, is_needed_after_all)
    except Exception as error:  # noqa: BLE001  # the project's query, as in run()
        _settle_failure(claimed, error)
        return False


def tell_success(claimed: Claimed, verdict: Verdict, *, won: bool) -> None:
    if won and isinstance(verdict, Succeeded):
        logger.info(
            "done %s delivery=%d in %.3fs", claimed.effect.name, claimed.id, verdict.seconds
        )
        _tell(signals.delivery_succeeded, claimed, attempt=claimed.attempt, seconds=verdict.seconds)


def _settle_failure(claimed: Claimed, exception: BaseException) -> None:
    timed_out = isinstance(exception, EffectTimeout)
    outcome = Attempt.Outcome.TIMED_OUT if timed_out else Attempt.Outcome.FAILED
    if claimed.attempt >= claimed.effect.max_attempts:
        if evidence.is_in_doubt(claimed):
            _settle_doubt(claimed, exception)
            return
        reason = Reason.TIMED_OUT if timed_out else Reason.ATTEMPTS_SPENT
        _poison(claimed, reason, outcome, exception)
        return
    rest = claimed.effect.backoff.delay(claimed.attempt)
    if finish.retry(claimed, exception, outcome, rest):
        logger.warning(
            "failed %s delivery=%d attempt=%d %s; again in %.1fs",
            claimed.effect.name, claimed.id, claimed.attempt, type(exception).__name__,
            rest.total_seconds(),
        )  # fmt: skip
        _tell(
            signals.attempt_failed,
            claimed,
            attempt=claimed.attempt,
            exception=exception,
            retry_at=timezone.now() + rest,
        )


def _settle_snooze(claimed: Claimed, span: timedelta) -> None:
    slept = noted(claimed.notes, Notes.SNOOZED) + span.total_seconds()
    if slept > settings().max_snooze.total_seconds():
        message = f"snoozed for {slept:.0f} s in all; RELIABLE_EFFECTS['MAX_SNOOZE'] is its bound"
        if evidence.is_in_doubt(claimed):
            _settle_doubt(claimed, Uncertain(message))
            return
        _poison(claimed, Reason.SNOOZED_OUT, Attempt.Outcome.REFUSED, None, message)
    elif finish.snooze(claimed, span):
        logger.info("snoozed %s delivery=%d for %s", claimed.effect.name, claimed.id, span)


def _settle_doubt(claimed: Claimed, exception: BaseException | None) -> None:
    """Ask `verify` later, as often as the effect may be tried; then a person must decide."""
    asked = int(noted(claimed.notes, Notes.VERIFIES))
    can_ask = claimed.effect.verify is not None and asked < claimed.effect.max_attempts
    rest = claimed.effect.backoff.delay(asked + 1) if can_ask else None
    if finish.doubt(claimed, exception, rest):
        tell.uncertain(
            claimed.effect.name, claimed.effect, exception,
            waits_for_a_person=not can_ask, **_facts(claimed),
        )  # fmt: skip


_MOST_INTERRUPTIONS = 3  # of one delivery; what always interrupts is its own doing, and counts


def _settle_interruption(claimed: Claimed, exception: Exception) -> None:
    """A deadlock, a lost connection or a worker without means is no failure of the effect."""
    times = int(noted(claimed.notes, Notes.INTERRUPTED)) + 1
    if times > _MOST_INTERRUPTIONS:
        fail = _settle_doubt if claimed.verifying else _settle_failure
        fail(claimed, exception)
        return
    rest = claimed.effect.backoff.delay(times)
    if finish.release(claimed, until=rest, **{Notes.INTERRUPTED: times}):
        logger.warning(
            "interrupted %s delivery=%d, not by itself: %s; again in %.1fs",
            claimed.effect.name, claimed.id, exception, rest.total_seconds(),
        )  # fmt: skip


def _settle_did_not_happen(claimed: Claimed) -> None:
    if noted(claimed.notes, Notes.KILLS) >= settings().max_kills:
        _poison(claimed, Reason.KILLED_WORKERS, None, did_not_happen=True)
    elif claimed.attempt >= claimed.effect.max_attempts:
        _poison(claimed, Reason.ATTEMPTS_SPENT, None, did_not_happen=True)
    elif finish.reopen(claimed):
        logger.info("did not happen: %s delivery=%d runs again", claimed.effect.name, claimed.id)


def _poison(
    claimed: Claimed,
    reason: Reason,
    outcome: Attempt.Outcome | None,
    exception: BaseException | None = None,
    message: str = "",
    *,
    begun: bool = True,
    did_not_happen: bool = False,
) -> None:
    if finish.poison(
        claimed, reason, outcome, exception, message, begun=begun, did_not_happen=did_not_happen
    ):
        tell.poisoned(claimed.effect.name, claimed.effect, reason, exception, **_facts(claimed))


def _tell(signal: Signal, claimed: Claimed, **facts: Any) -> None:
    tell.tell(signal, claimed.effect, **_facts(claimed), **facts)


def _facts(claimed: Claimed) -> dict[str, Any]:
    return {"delivery_id": claimed.id, "key": claimed.key, "using": claimed.using}
