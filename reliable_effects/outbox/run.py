"""
Run one claimed effect and say how it ended. Nothing is written here but what the effect writes.

Between the claim and the effect everything is asked again: is the event readable, the subject
there, the effect still needed?
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from inspect import isawaitable, iscoroutine, isgenerator
from typing import Any

from django.db import Error, connections, transaction

from ..effects.context import EffectContext
from ..effects.effect import Effect
from ..effects.outcomes import Poison, Skip, Snooze, Uncertain
from ..effects.registry import registry
from ..effects.sending import Call
from ..exceptions import BadPayload, EffectTimeout, LeaseLost
from . import evidence, finish, instruments, leftovers, payloads, timeout, unknown
from .claimed import UNREAD, Claimed
from .failures import let_go_of_memory
from .models import Attempt, OutboxEvent
from .pace import pace
from .passing import may_pass
from .persist import surely
from .run_context import Run, running
from .states import Flag, Notes, Reason, State, noted
from .subjects import MISSING, load_subject
from .succeed import complete
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


def run(claimed: Claimed) -> Verdict:
    """Carry out *claimed*."""
    event = claimed.event
    if event is None:
        return Refused(Reason.UNREADABLE, message="its event is not in the database", begun=False)
    if claimed.attempt > claimed.effect.max_attempts and not claimed.verifying:
        return _spent(claimed)
    # The one place that catches everything: an effect is foreign code, and whatever it raises
    # (MemoryError, SystemExit, and what pools throw at it) is its outcome, not the worker's end.
    try:
        declared = payloads.declared(claimed.effect, event)
        found = _payload(claimed, event)
        if found.version > declared.version:
            return NotForThisRelease()
        _note_beginning(claimed)
        payload = declared.codec.load(found.stored, found.version)
        subject = claimed.subject
        if subject is UNREAD:
            subject = surely(claimed.using, lambda: load_subject(claimed, event))
        before = leftovers.as_they_are()
        try:
            verdict = _judged(claimed, event, subject, payload)
        finally:
            left_open = leftovers.put_right(before)
        return leftovers.judged(verdict, left_open) if left_open else verdict
    except BadPayload as error:
        return Refused(Reason.UNREADABLE, error, begun=False)
    except BaseException as error:  # noqa: BLE001  # see above
        let_go_of_memory(error)
        return _not_begun(claimed, error)


def _not_begun(claimed: Claimed, error: BaseException) -> Verdict:
    """What effects raise was caught with the effect; this was met on the way to it."""
    if isinstance(error, Error) and may_pass(error):
        return Interrupted(error)
    # A question that could not be asked is no answer: only "did not" may run it again.
    return Unsure(error) if claimed.verifying else Failed(error)


def _note_beginning(claimed: Claimed) -> None:
    changes: dict[str, Any] = {}
    if unknown.SINCE in claimed.notes:
        changes[unknown.SINCE] = None
    if Notes.ABSENT in claimed.notes and not claimed.verifying:
        changes[Notes.ABSENT] = None  # from now on it may happen
    if claimed.verifying:
        # Counted before it is asked, so that a question that kills its worker is counted too.
        changes[Notes.VERIFIES] = noted(claimed.notes, Notes.VERIFIES) + 1
    if changes and not finish.note(claimed, **changes):
        raise LeaseLost(claimed.id)


def _payload(claimed: Claimed, event: OutboxEvent) -> payloads.Payload:
    found = surely(
        claimed.using, lambda: payloads.in_force(claimed.using, claimed.id, claimed.notes, event)
    )
    if found is None:
        problem = "was edited by a person, and the edit is not in the database."
        raise BadPayload(event.name, "", problem)
    return found


def _spent(claimed: Claimed) -> Verdict:
    """Its last run never came back to count itself out: the worker died, or was killed."""
    kept = Attempt.objects.using(claimed.using).filter(delivery_id=claimed.id)
    last = surely(claimed.using, lambda: kept.order_by("-pk").first())
    match last.outcome if last is not None else "":
        case Attempt.Outcome.LOST:
            reason = Reason.KILLED_WORKERS
        case Attempt.Outcome.TIMED_OUT:
            reason = Reason.TIMED_OUT
        case _:
            reason = Reason.ATTEMPTS_SPENT
    return Refused(reason, message="every attempt is spent", begun=False)


def _judged(claimed: Claimed, event: OutboxEvent, subject: Any, payload: Any) -> Verdict:
    effect = claimed.effect
    if subject is MISSING:
        match effect.subject_gone:
            case "skip":
                return Skipped(Reason.SUBJECT_GONE)
            case "poison":
                gone = f"{event.subject_model} {event.subject_pk} is not in the database"
                return Refused(Reason.SUBJECT_GONE, message=gone, begun=False)
            case "run":
                subject = None
    if claimed.verifying:
        return _verified(claimed, event, subject, payload)
    if is_expired(effect, event, claimed.claimed_at):
        return _left(claimed, Reason.EXPIRED)
    if not surely(claimed.using, lambda: is_still_needed(effect, subject, claimed.using)):
        return _left(claimed, Reason.NOT_NEEDED)
    return _carried_out(claimed, event, subject, payload)


def _left(claimed: Claimed, reason: Reason) -> Verdict:
    """Nothing is to be done; but what was sent by then, and never answered, is not forgotten."""
    if not evidence.is_in_doubt(claimed):
        return Skipped(reason)
    return Unsure(Uncertain(f"{reason.label}; and what was sent before may have happened"))


def is_expired(effect: Effect[Any, Any], event: OutboxEvent, now: datetime) -> bool:
    """Whether it is too late at *now* for *effect* to run."""
    return effect.expires_after is not None and now - event.emitted_at > effect.expires_after


def is_still_needed(effect: Effect[Any, Any], subject: Any, using: str) -> bool:
    """Ask the effect's owed query and its `still_needed` about *subject*, on the writer."""
    if subject is None:
        return True
    if effect.owed_query is not None and not effect.owed_query.still_owes(subject, using):
        return False
    return effect.still_needed is None or bool(effect.still_needed(subject))


def _carried_out(  # noqa: PLR0911  # one for each way to end
    claimed: Claimed, event: OutboxEvent, subject: Any, payload: Any
) -> Verdict:
    effect = claimed.effect
    begun = time.monotonic()
    completed = False
    try:
        with _watched(claimed) as watch, instruments.around_effect(claimed):
            ctx = _context(claimed, event, subject, payload, watch)
            # Of a group, which is quick, the line that it is done will do.
            logger.log(
                logging.DEBUG if claimed.flags & Flag.GROUP else logging.INFO,
                "doing %s delivery=%d attempt=%d", effect.name, claimed.id, claimed.attempt,
            )  # fmt: skip
            if effect.atomic:
                with transaction.atomic(using=claimed.using):
                    _called(claimed, effect.function, subject, ctx)
                    watch.disarm()
                    completed = complete(claimed)
                    if not completed:
                        raise LeaseLost(claimed.id)  # noqa: TRY301  # rolls the effect's writes back
            else:
                _called(claimed, effect.function, subject, ctx)
        return Succeeded(time.monotonic() - begun, written=effect.atomic)
    except Snooze as asked:
        return Snoozed(asked.span)
    except Skip as asked:
        return Skipped(Reason.EFFECT_SKIPPED, asked)
    except Poison as asked:
        return Refused(Reason.REFUSED, asked)
    except Uncertain as asked:
        return Unsure(asked)
    except timeout.Unguarded as error:
        return Interrupted(error)  # what another effect did to this process is not its failure
    except EffectTimeout as error:
        _drop_connections()
        return Unsure(error) if effect.verify is not None else Failed(error)
    except BaseException as error:  # noqa: BLE001  # see run()
        let_go_of_memory(error)
        return _unexpected(claimed, error, time.monotonic() - begun, completed=completed)
    finally:
        pace.note(effect.name, time.monotonic() - begun)  # failures too: a timeout is not quick


def _unexpected(
    claimed: Claimed, error: BaseException, seconds: float, *, completed: bool
) -> Verdict:
    if completed and surely(claimed.using, lambda: finish.is_now(claimed, State.SUCCEEDED)):
        # The commit was done, and only its answer was lost (or a hook after it raised).
        return Succeeded(seconds, written=True)
    if claimed.effect.atomic and isinstance(error, Error) and may_pass(error):
        # The deadlock or lost connection may be that of our completion, or of the commit; and
        # whose it was, all is rolled back.
        return Interrupted(error)
    return Failed(error)


def _verified(claimed: Claimed, event: OutboxEvent, subject: Any, payload: Any) -> Verdict:
    effect = claimed.effect
    if effect.verify is None:
        return Unsure(None)
    begun = time.monotonic()
    try:
        with _watched(claimed) as watch, instruments.around_effect(claimed):
            ctx = _context(claimed, event, subject, payload, watch)
            answer = _called(claimed, effect.verify, subject, ctx)
    except BaseException as error:  # noqa: BLE001  # see run(): it cannot tell, then
        if isinstance(error, EffectTimeout):
            _drop_connections()
        return Unsure(error)
    if answer is None:
        return Unsure(None)
    if isawaitable(answer) or isgenerator(answer):  # true, and no answer
        if iscoroutine(answer):
            answer.close()  # else Python warns that nobody awaited it
        return Unsure(TypeError(f"verify returned a {type(answer).__name__}, which is no answer"))
    return Succeeded(time.monotonic() - begun) if answer else DidNotHappen()


def _called(claimed: Claimed, function: Callable[..., Any], subject: Any, ctx: Any) -> Any:
    mine = Run(
        using=claimed.using,
        delivery_id=claimed.id,
        token=claimed.token,
        key=claimed.key,
        generation=claimed.generation,
        round=int(noted(claimed.notes, Notes.ROUND)),
    )
    with running(mine), leftovers.ending_children(claimed.effect.name):
        return timeout.call(function, subject, ctx)


def _watched(claimed: Claimed) -> AbstractContextManager[timeout.Watch]:
    effect = claimed.effect
    return timeout.watching(
        timeout.Watch(
            effect=effect.name,
            timeout=effect.timeout,
            lease=effect.lease,
            max_runtime=effect.max_runtime,
            started=time.monotonic(),
        )
    )


def _context(
    claimed: Claimed, event: OutboxEvent, subject: Any, payload: Any, watch: timeout.Watch
) -> EffectContext[Any]:
    begun = time.monotonic()

    def deadline() -> datetime:
        return claimed.claimed_at + timedelta(seconds=time.monotonic() - begun) + watch.left()

    def beat() -> datetime:
        watch.disarm()  # the alarm must not strike in the middle of our own UPDATE
        try:
            if not finish.beat(claimed, claimed.effect.lease):
                raise LeaseLost(claimed.id)
        finally:
            watch.arm()
        return deadline()

    def send(call: Call, deadline: datetime) -> Any:
        return registry.sender.send(call, claimed=claimed, subject=subject, deadline=deadline)

    return EffectContext(
        delivery_id=claimed.id,
        idempotency_key=claimed.idempotency_key,
        attempt=claimed.attempt,
        event=event,
        payload=payload,
        deadline=deadline(),
        logger=logging.LoggerAdapter(
            logger, {"delivery": claimed.id, "effect": claimed.effect.name}
        ),
        _beat=beat,
        _send=send,
    )


def _drop_connections() -> None:
    """A timeout may strike inside a query; what its connection is in the middle of nobody knows."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
