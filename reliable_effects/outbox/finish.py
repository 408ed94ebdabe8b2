"""
Leave RUNNING: every way out is one UPDATE that says the token, empties it, and tells whether it won.

A worker that lost its lease writes nothing. What went wrong is kept as an `Attempt`, in the same
transaction as the move.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from django.db import Error, transaction
from django.db.models import F

from ..clock import DbNow
from .claimed import Claimed
from .failures import attempt_row, bare
from .models import Attempt, Delivery, DeliveryQuerySet
from .passing import may_pass
from .persist import surely
from .states import Flag, Notes, Reason, State, finding, noted

logger = logging.getLogger("reliable_effects")

OVER = Flag.GROUP | Flag.VERIFYING  # flags of a claim that is over
KEPT_FLAGS = ~OVER & 0x7FFF  # the others, in the column's positive 15 bits

LOOK_AGAIN = timedelta(seconds=60)  # at what cannot run now; with jitter, out of everyone's way


def skip(claimed: Claimed, reason: Reason, exception: BaseException | None = None) -> bool:
    """Nothing is to be done: not needed, expired, gone, or the effect said so."""
    row = None
    if exception is not None:
        row = _attempt(claimed, Attempt.Outcome.SKIPPED, exception)
    return _leave(claimed, row, state=State.SKIPPED, reason=reason, finished_at=DbNow())


def skip_debt(claimed: Claimed, needed: Callable[[], bool]) -> bool:
    """
    Skip as not needed, or put back where *needed*, asked under the row's lock, says otherwise.

    Whoever promises the debt again while it runs leaves the row as it is, and holds a lock on it
    until the commit that makes it owed. Without the lock that commit could fall between our
    question and our answer, and be skipped. Tells whether it was skipped.
    """
    rows = Delivery.objects.using(claimed.using).filter(pk=claimed.id, claim_token=claimed.token)

    def skipped_or_released() -> bool:
        with transaction.atomic(using=claimed.using):
            if rows.select_for_update().exists() and needed():
                release(claimed)
                return False
            return skip(claimed, Reason.NOT_NEEDED)

    return surely(
        claimed.using,
        skipped_or_released,
        after_doubt=lambda: skipped_or_released() or is_now(claimed, State.SKIPPED),
    )


def retry(
    claimed: Claimed, exception: BaseException, outcome: Attempt.Outcome, rest: timedelta
) -> bool:
    """Failed, with attempts left: due again after *rest*."""
    due = DbNow() + rest
    return _leave(
        claimed, _attempt(claimed, outcome, exception), state=State.PENDING, due_at=due, look_at=due
    )


def poison(
    claimed: Claimed,
    reason: Reason,
    outcome: Attempt.Outcome | None = None,
    exception: BaseException | None = None,
    message: str = "",
    *,
    begun: bool = True,
    did_not_happen: bool = False,
) -> bool:
    """
    Set aside for a person. `begun` is False where no attempt was made; then it is given back.

    did_not_happen: `verify` has found it so.
    """
    row = _attempt(claimed, outcome, exception, message) if outcome is not None else None
    given_back = 0 if begun or claimed.verifying else 1
    return _leave(
        claimed,
        row,
        state=State.POISONED,
        reason=reason,
        fingerprint="",
        finished_at=DbNow(),
        attempts=F("attempts") - given_back,
        **({"notes": claimed.notes | finding()} if did_not_happen else {}),
    )


def snooze(claimed: Claimed, span: timedelta) -> bool:
    """Later, and no attempt is spent. A new round: what the next run emits is new."""
    notes = claimed.notes | {
        Notes.SNOOZED: noted(claimed.notes, Notes.SNOOZED) + span.total_seconds(),
        Notes.ROUND: noted(claimed.notes, Notes.ROUND) + 1,
    }
    due = DbNow() + span
    return _leave(
        claimed,
        state=State.PENDING,
        due_at=due,
        look_at=due,
        attempts=F("attempts") - 1,
        notes=notes,
    )


def doubt(claimed: Claimed, exception: BaseException | None, rest: timedelta | None) -> bool:
    """It may have happened. Verify after *rest*; None: a person must decide."""
    row = _attempt(claimed, Attempt.Outcome.UNCERTAIN, exception)
    due = DbNow() + rest if rest is not None else None
    dues = {"due_at": due} if due is not None else {}
    return _leave(claimed, row, state=State.UNCERTAIN, look_at=due, **dues)


def reopen(claimed: Claimed) -> bool:
    """`verify` says that it did not happen: run it again, now."""
    notes = claimed.notes | finding()
    return _leave(claimed, state=State.PENDING, look_at=DbNow(), notes=notes)


def release(claimed: Claimed, *, until: timedelta = timedelta(0), **notes: Any) -> bool:
    """Put it back as it was: not run, so its attempt is given back."""
    spent = 0 if claimed.verifying else 1
    return _leave(
        claimed,
        state=State.UNCERTAIN if claimed.verifying else State.PENDING,
        attempts=F("attempts") - spent,
        look_at=DbNow() + until,
        notes=(claimed.notes | notes) or None,
    )


def release_together(group: Sequence[Claimed]) -> None:
    """Put back what of a group was not run; one statement, attempts given back."""
    if not group:
        return
    using = group[0].using
    surely(
        using,
        lambda: held_by(using, group).update(
            claim_token=None,
            lease_expires_at=None,
            look_at=DbNow(),
            attempts=F("attempts") - 1,
            flags=F("flags").bitand(KEPT_FLAGS),
            state=State.PENDING,
        ),
    )


def note(claimed: Claimed, **notes: Any) -> bool:
    """Write notes while holding the claim; False where it is lost."""
    claimed.notes = {k: v for k, v in (claimed.notes | notes).items() if v is not None}
    rows = Delivery.objects.using(claimed.using).filter(pk=claimed.id, claim_token=claimed.token)
    kept = claimed.notes or None
    return surely(claimed.using, lambda: rows.update(notes=kept)) == 1


def beat(claimed: Claimed, lease: timedelta) -> bool:
    """Begin the lease anew; False where it is lost."""
    rows = Delivery.objects.using(claimed.using).filter(pk=claimed.id, claim_token=claimed.token)
    return surely(claimed.using, lambda: rows.update(lease_expires_at=DbNow() + lease)) == 1


def jittered(span: timedelta) -> timedelta:
    """*span* ± 20 %, so that what was put off together does not come back together."""
    return span * random.uniform(0.8, 1.2)  # noqa: S311  # jitter


def _leave(claimed: Claimed, attempt: Attempt | None = None, **values: Any) -> bool:
    rows = Delivery.objects.using(claimed.using).filter(pk=claimed.id, claim_token=claimed.token)

    def write(attempt: Attempt | None) -> bool:
        with transaction.atomic(using=claimed.using):
            won = rows.update(
                claim_token=None,
                lease_expires_at=None,
                flags=F("flags").bitand(KEPT_FLAGS),
                **values,
            )
            if won and attempt is not None:
                attempt.save(using=claimed.using, force_insert=True)
        return won == 1

    def record() -> bool:
        # The move must not fail because of what is told about it.
        for kept in (attempt, bare(attempt)) if attempt is not None else ():
            try:
                return write(kept)
            except Error as error:
                if may_pass(error):
                    raise
                logger.exception("could not keep all of an attempt of delivery %d", claimed.id)
        return write(None)

    won = surely(
        claimed.using,
        record,
        after_doubt=lambda: record() or is_now(claimed, values["state"]),
    )
    return told(claimed, won)


def _attempt(
    claimed: Claimed,
    outcome: Attempt.Outcome,
    exception: BaseException | None = None,
    message: str = "",
) -> Attempt:
    return attempt_row(
        claimed.id,
        claimed.attempt,
        outcome,
        effect=claimed.effect.name,
        exception=exception,
        message=message,
        started_at=claimed.claimed_at,
    )


def is_now(claimed: Claimed, state: State) -> bool:
    """After a lost answer: our write was done, if the row is free and stands where we put it."""
    rows = Delivery.objects.using(claimed.using).filter(pk=claimed.id)
    return rows.filter(state=state, claim_token=None).exists()


def held_by(using: str, group: Sequence[Claimed]) -> DeliveryQuerySet:
    """The rows of *group* that still carry its token."""
    rows = Delivery.objects.using(using).filter(pk__in=[c.id for c in group])
    return rows.filter(claim_token__in={c.token for c in group})


def told(claimed: Claimed, won: bool) -> bool:
    if not won:
        logger.warning("lease_lost delivery=%d effect=%s", claimed.id, claimed.effect.name)
    return won
