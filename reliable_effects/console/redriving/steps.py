"""
The sweep that carries operations on: gather, settle, decide, release; one bounded step at a time.

A step is one transaction, and begins with a guarded UPDATE of the operation's `turn`: two sweepers
never take the same one, and a process that is killed leaves all of it or nothing. What is released
and that it is released are written together.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from time import monotonic

from django.db import transaction
from django.db.models import F, Q

from ...clock import DbNow, read_clock
from ...conf import settings
from ...outbox import outage
from ...outbox.heartbeat import Swept, Turn
from ...outbox.reconnect import mend
from ...outbox.sweeps import add
from . import outcomes, ramp
from .gathering import gather
from .models import ACTIVE, OperationState, RedriveItem, RedriveOperation
from .releasing import instant, release
from .selection import BadSelection

REDRIVES = "redrives"

_BOUND = 2.0  # seconds of a sweep; the relay waits for it in the same thread
_BATCH = 500  # deliveries released in one step
_AT_ONCE = 20  # operations of one turn; as many that are halted, paused or cancelled
_MOST_LIVE = 1000  # operations that are drawn from
_TOLD = 100  # lines of a history
_AFTERWARDS = timedelta(days=1)  # so long is followed what still fails after the last release
_SWEPT_AWAY = 2000  # items deleted in one turn

_CHANGED = (
    "line", "cursor", "gathered_at", "pace", "round_known", "round_failing", "ramp_began_at",
    "paid_until", "released_at", "remark", "history", "gathered", "released", "succeeded",
    "skipped", "failing", "failed", "otherwise", "left_alone", "ended_at", "state",
)  # fmt: skip


def register() -> None:
    """Let the sweeps' timer know of ours."""
    add(REDRIVES, lambda: settings().redrive_period, redrives)


def redrives(using: str, _turn: Turn) -> Swept:
    """A step of every operation that goes on, and again while there is time and more to do."""
    # Nothing is `seen`: on most days there is nothing, and that is no alarm.
    swept = Swept(done=_forget_old(using))
    until = monotonic() + _BOUND
    going = _drawn(using)
    # To have more to do is what an operation is for. Cut short, and alerted on, is one that fails.
    while going and monotonic() < until:
        going = [pk for pk in going if _tried(using, pk, swept)]
    return swept


def _drawn(using: str) -> list[int]:
    """Which get steps in this turn: those that release something first, and in no order."""
    live = RedriveOperation.objects.using(using).filter(ended_at=None)
    drawn = []
    for rows in (live.filter(state__in=ACTIVE), live.exclude(state__in=ACTIVE)):
        found = list(rows.values_list("pk", flat=True)[:_MOST_LIVE])
        drawn += random.sample(found, min(len(found), _AT_ONCE))
    return drawn


def _tried(using: str, pk: int, swept: Swept) -> bool:
    try:
        more = step(using, pk)
    except Exception as error:  # noqa: BLE001  # whatever is wrong with one, the others go on
        outage.tell(f"redrive operation {pk} on {using} cannot go on; the others do", error)
        mend(using)
        swept.truncated = True
        return False
    swept.done += 1
    return more


def step(using: str, pk: int) -> bool:
    """Carry the operation one step on; whether the next may follow at once."""
    rows = RedriveOperation.objects.using(using).filter(pk=pk, ended_at=None)
    turn = rows.values_list("turn", flat=True).first()
    if turn is None:
        return False
    with transaction.atomic(using=using):
        # Locks the row: a person's pause waits for the end of this step. Another sweep waits for
        # nobody: who holds the row may be frozen, and the relay comes next in this thread.
        mine = rows.filter(turn=turn)
        free = mine.select_for_update(skip_locked=True).values_list("pk", flat=True)
        if not free or mine.update(turn=F("turn") + 1) != 1:
            return False
        operation = rows.get()
        now = read_clock(using)
        try:
            more = _carried_on(operation, now)
        except BadSelection as error:
            _halt(operation, now, f"its selection cannot be read: {error}")
            more = False
        operation.save(using=using, update_fields=_CHANGED)
    return more


def _carried_on(operation: RedriveOperation, now: datetime) -> bool:
    if operation.state == OperationState.GATHERING:
        if not gather(operation):
            return True
        operation.gathered_at = now
        operation.state = OperationState.RUNNING
        tell(operation, now, f"{operation.gathered} gathered")
        return True
    more = outcomes.settle(operation, now)
    if operation.state == OperationState.RUNNING:
        more = _decided(operation, now) or more
    _end(operation, now)
    return more and operation.ended_at is None


def _decided(operation: RedriveOperation, now: datetime) -> bool:
    late = outcomes.overdue(operation, now, operation.under_way) if operation.under_way else 0
    standing = ramp.Standing(
        canary=operation.canary,
        rate=operation.rate,
        halt_percent=operation.halt_percent,
        pace=operation.pace,
        unreleased=operation.unreleased,
        under_way=operation.under_way - late,
        overdue=late,
        known=operation.round_known,
        failing=operation.round_failing,
    )
    match ramp.decide(standing):
        case ramp.Halt():
            _halt(
                operation,
                now,
                f"{standing.failing} of the last {standing.known} failed:"
                f" {outcomes.why_they_fail(operation)}",
            )
            return False
        case ramp.Wait(why):
            operation.remark = why
            return False
        case ramp.Release(at_most, pace, grown):
            return _go_on(operation, now, standing, at_most, pace, grown=grown)


def _go_on(
    operation: RedriveOperation,
    now: datetime,
    standing: ramp.Standing,
    at_most: int,
    pace: int,
    *,
    grown: bool,
) -> bool:
    if operation.pace == 0:
        operation.ramp_began_at = now
        tell(operation, now, f"a canary of {min(pace, standing.unreleased)} is released")
    elif grown:
        if pace > operation.pace:
            good = standing.known - standing.failing
            tell(operation, now, f"{good} of {standing.known} went well: {pace} at once")
        operation.round_known = operation.round_failing = 0
    operation.pace = pace
    allowed = ramp.allowance(operation.rate, instant(operation.paid_until), now)
    count = min(at_most, allowed, _BATCH)
    operation.remark = ""
    if not count:
        return False
    released, held = release(operation, now, count)
    if not released and held:
        operation.remark = f"somebody holds all {held} that follow, in a transaction that is open"
        return False
    if not released:
        return True  # all were left alone; who comes next need not wait for them
    # The canary is judged before anything follows; else the rate or the room may allow more.
    return count == _BATCH and pace > operation.canary


def _halt(operation: RedriveOperation, now: datetime, why: str) -> None:
    operation.state = OperationState.HALTED
    operation.remark = f"Halted: {why}"
    tell(operation, now, operation.remark)


def _end(operation: RedriveOperation, now: datetime) -> None:
    """When all is known, or when nobody waits for the rest of it any more."""
    cancelled = operation.state == OperationState.CANCELLED
    if not cancelled and (operation.state != OperationState.RUNNING or operation.unreleased):
        return
    left = operation.under_way + operation.failing
    last = instant(operation.released_at)
    if left and last is not None and now - last < _AFTERWARDS:
        return
    operation.ended_at = now
    operation.remark = f"{left} are still under way; no more is told of them here." if left else ""
    if not cancelled:
        operation.state = OperationState.DONE
        tell(operation, now, f"done: {operation.succeeded} succeeded, {operation.failed} failed")


def tell(operation: RedriveOperation, now: datetime, words: str) -> None:
    """A line of its history."""
    operation.history = [*operation.history, [now.isoformat(), words]][-_TOLD:]


def _forget_old(using: str) -> int:
    """Items of operations that ended long ago; the operations stay, with their counts."""
    ended = RedriveOperation.objects.using(using).filter(
        Q(ended_at__lte=DbNow() - settings().redrive_retention), forgotten_at=None
    )
    oldest = ended.order_by("ended_at").first()
    if oldest is None:
        return 0
    items = RedriveItem.objects.using(using)
    pks = list(
        items.filter(operation=oldest)
        .order_by("outcome", "pk")
        .values_list("pk", flat=True)[:_SWEPT_AWAY]
    )
    items.filter(pk__in=pks).delete()
    if len(pks) < _SWEPT_AWAY:
        ended.filter(pk=oldest.pk).update(forgotten_at=DbNow())
    return len(pks)
