"""
What a hint sets going: claim, run, complete, one delivery at a time.

In: a hint, which may be forged, repeated, late or malformed, and then does nothing. Quick effects
run here in order; slow and unmeasured ones go on as hints of their own, so that ten HTTP calls do
not stand in one line. Harmless ones are claimed and completed as a group.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import Error, connections

from ..conf import settings
from . import dispatch, held_back, outage, settle, timeout, unknown
from .claim import claim, look
from .claimed import Claimed, Seen
from .finish import release_together
from .heartbeat import note_claim
from .one_trip import claim_one, succeed_and_claim
from .pace import pace
from .reconnect import reconnect
from .run import run
from .states import State
from .subjects import load_subjects
from .succeed import succeed_together
from .suspects import own_turn, put_off
from .verdicts import Succeeded

logger = logging.getLogger("reliable_effects")

BATCH_BOUND = 0.1  # seconds of one hint's work; the rest is handed on
GROUP_BOUND = 0.02  # seconds from the first success of a group to its completion
IDS_AT_MOST = 1000  # in one hint; ours have far fewer

HandOn = Callable[[str, str, Sequence[int]], bool]
Missed = Callable[[Sequence[Seen]], None]


def on_hint(hint: Any) -> None:
    """Do what *hint* says, or log why not. Never raises because of what is in it."""
    problem = _problem(hint)
    if problem:
        logger.warning("hint dropped: %s", problem)
        return
    in_block = connections[hint["db"]].in_atomic_block  # of a test case
    try:
        deliver(hint["db"], hint["ids"])
    except MemoryError:
        # One that Celery sees ends the whole worker, pool and all.
        logger.exception("hint given up, there is no memory left for it")
    except Error as error:
        # The rows are as they were, or leased; the relay will look at them.
        outage.tell("hint given up, the relay will look at its rows again", error)
        if not in_block:
            reconnect(hint["db"])


def _problem(hint: Any) -> str:
    if not isinstance(hint, dict) or hint.get("v") != 1:
        return "it is not of a version that this release reads"
    if hint.get("db") not in settings().databases:
        return "its database is not one of RELIABLE_EFFECTS['DATABASES']"
    ids = hint.get("ids")
    if not isinstance(ids, list) or len(ids) > IDS_AT_MOST:
        return f"its ids are not a list of at most {IDS_AT_MOST}"
    if not all(type(i) is int and 0 < i < 2**63 for i in ids):
        return "an id is not a row number"
    return ""


def _let_be(_rows: Sequence[Seen]) -> None:
    """The relay will look at them again, if nobody else does."""


def deliver(
    using: str, ids: Iterable[int], *, hand_on: HandOn = dispatch.send, missed: Missed = _let_be
) -> int:
    """
    Carry out those of *ids* that are due, free and known here; how many were begun.

    *missed* is told of those that were due, and that somebody else had when they were to be claimed.
    """
    with timeout.guarded():
        seen = look(using, ids)
        for queue in {row.queue for row in seen}:
            note_claim(using, queue)  # of whatever came of it: somebody is there
        known = [row for row in seen if row.effect is not None]
        free, paused = held_back.in_two(using, known)
        begun = _run_line(using, free, hand_on, missed)
        # After what may run: it waits for nobody.
        for row in seen:
            if row.effect is None:
                unknown.put_off(row)
        resumed = held_back.put_off(using, paused)
        return begun + _run_line(using, resumed, hand_on, missed)


def _run_line(using: str, rows: Sequence[Seen], hand_on: HandOn, missed: Missed) -> int:
    line = _Line.of(rows)
    _hand_on(using, line.others, hand_on)
    begun = _run_group(using, line.group, hand_on, missed) if line.group else 0
    return begun + _run_singly(using, line.singles, hand_on, missed)


@dataclass(slots=True)
class _Line:
    """Who runs here, and who goes on as hints of their own."""

    group: list[Seen] = field(default_factory=list)
    singles: list[Seen] = field(default_factory=list)
    others: list[list[Seen]] = field(default_factory=list)

    @classmethod
    def of(cls, seen: Sequence[Seen]) -> _Line:
        line = cls()
        if len(seen) == 1:  # a hint with one id is never split
            line.singles = list(seen)
            return line
        slow: list[Seen] = []
        unmeasured: dict[str, list[Seen]] = {}
        for row in seen:
            quick = pace.is_quick(row.effect.name if row.effect else row.effect_name)
            if row.alone:
                line.others.append([row])
            elif row.state == State.UNCERTAIN:
                slow.append(row)  # the pace of `verify` is not measured
            elif quick is None:
                # The first of them here will tell what the others of its name are.
                unmeasured.setdefault(row.effect_name, []).append(row)
            elif not quick:
                slow.append(row)
            elif row.effect and row.effect.harmless_to_repeat:
                line.group.append(row)
            else:
                line.singles.append(row)
        apart = [[row] for row in slow] + list(unmeasured.values()) + line.others
        # Somebody has to be here: the first that is long comes last, where it delays nobody.
        line.singles += apart.pop(0) if apart else []
        line.others = apart
        return line


def _run_singly(using: str, rows: Sequence[Seen], hand_on: HandOn, missed: Missed) -> int:
    bound = time.monotonic() + BATCH_BOUND
    waiting = list(rows)
    begun = 0
    held: Claimed | None = None
    while held is not None or waiting:
        if held is None:
            if begun and time.monotonic() > bound:
                break
            row = waiting.pop(0)
            if row.alone:
                begun += _run_alone(row, missed)
            elif (held := claim_one(row)) is None:
                missed([row])
            continue
        begun += 1
        verdict = run(held)
        following = waiting[0] if waiting and time.monotonic() <= bound else None
        if following is not None and not following.alone and settle.may_be_joined(held, verdict):
            waiting.pop(0)
            won, held_next = succeed_and_claim(held, following)
            settle.tell_success(held, verdict, won=won)
            held = held_next
            if held is None:
                missed([following])
        else:
            settle.settle(held, verdict)
            held = None
    if waiting:
        _hand_on(using, [waiting], hand_on)
    return begun


def _run_alone(row: Seen, missed: Missed) -> int:
    assert row.effect is not None  # noqa: S101  # unknown names were set apart
    with own_turn(row.effect.lease) as is_ours:
        if not is_ours:
            put_off(row)
            return 0
        held = claim_one(row)
        if held is None:
            missed([row])
            return 0
        settle.settle(held, run(held))
        return 1


def _run_group(using: str, rows: Sequence[Seen], hand_on: HandOn, missed: Missed) -> int:
    """Harmless ones: claimed at once, completed at the end or soon after the first success."""
    held = claim(rows, group=True)
    if len(held) < len(rows):
        ours = {claimed.id for claimed in held}
        missed([row for row in rows if row.id not in ours])
    load_subjects(using, held)
    bound = time.monotonic() + BATCH_BOUND
    done: list[tuple[Claimed, Succeeded]] = []
    flush_at = 0.0
    for place, claimed in enumerate(held):
        if place and time.monotonic() > bound:
            rest = held[place:]
            release_together(rest)
            hand_on(using, rest[0].queue, [unrun.id for unrun in rest])  # free, if nobody hears it
            held = held[:place]
            break
        verdict = run(claimed)
        if isinstance(verdict, Succeeded):
            if not done:
                flush_at = time.monotonic() + GROUP_BOUND
            done.append((claimed, verdict))
        else:
            settle.settle(claimed, verdict)
        if done and time.monotonic() > flush_at:
            _complete_group(done)
            done = []
    _complete_group(done)
    return len(held)


def _complete_group(done: Sequence[tuple[Claimed, Succeeded]]) -> None:
    won = succeed_together([claimed for claimed, _ in done])
    ours = {claimed.id for claimed in won}
    for claimed, verdict in done:
        settle.tell_success(claimed, verdict, won=claimed.id in ours)


def _hand_on(using: str, hints: Sequence[Sequence[Seen]], hand_on: HandOn) -> None:
    """Send each of *hints* on; what cannot be sent is put back into the line, in one statement."""
    unsent: list[int] = []
    for rows in hints:
        by_queue: dict[str, list[int]] = {}
        for row in rows:
            by_queue.setdefault(row.queue, []).append(row.id)
        for queue, ids in by_queue.items():
            if not hand_on(using, queue, ids):
                unsent += ids
    if unsent:
        # No broker to say it: then whoever sweeps next may take them at once.
        dispatch.put_back(using, unsent)
