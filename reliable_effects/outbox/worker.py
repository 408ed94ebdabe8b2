"""
Carry out deliveries with no broker and no Celery: children that work, and one that sweeps.

A child takes due rows the way the relay does, and runs them itself instead of sending a hint. What
it may not keep (slow ones, and what is beyond its bound) it puts back for its siblings. A child
that dies is replaced; what it held comes back by its lease. The parent never asks a database: one
that does not answer would keep it from replacing anybody, and from hearing that it is to end.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import NoReturn

from django.db import Error

from ..conf import settings
from . import dispatch, forking, low_water, outage, sweeper, timeout
from .claimed import Seen
from .deliver import deliver
from .reconnect import reconnect
from .relay import in_hints, take, waiting_queues

logger = logging.getLogger("reliable_effects")

_SHORTEST, _LONGEST = 0.02, 0.5  # seconds a child rests when nothing is due; doubles between
_OUTAGE = 4.0  # seconds a child leaves a database alone that goes on failing, at most
_TICK = 0.1  # seconds between two looks of the parent at its children
_TOO_SHORT = 1.0  # seconds; children that live less are not replaced any faster


def work(queues: Sequence[str], stopped: Callable[[], bool], *, drain: bool = False) -> None:
    """Carry out what is due until *stopped* (or, to *drain*, until nothing is)."""
    rest = _SHORTEST
    is_sure = False  # that nothing is due: it was looked for from the beginning
    appetite: dict[tuple[str, str], int] = {}
    missed: dict[str, list[int]] = {}
    left_alone: dict[str, float] = {}  # databases that failed, and until when
    rests: dict[str, float] = {}  # of those, the last
    while not stopped():
        worked = 0
        known = settings().databases
        # In any order: one that never answers takes us along, and must not always come first.
        for using in random.sample(known, len(known)):
            began_at = time.monotonic()
            if began_at < left_alone.get(using, 0.0):
                continue
            try:
                with timeout.guarded():
                    worked += _work_once(using, queues, stopped, appetite, missed)
            except Error as error:
                outage.tell(f"the database {using} failed; trying again", error)
                reconnect(using)
                # As long as it took to fail: one that hangs costs the others half the time at most.
                now = time.monotonic()
                rests[using] = min(2 * rests.get(using, _LONGEST), _OUTAGE)
                pause = rests[using] * random.uniform(0.5, 1)  # noqa: S311  # jitter
                left_alone[using] = now + max(pause, now - began_at)
            else:
                rests.pop(using, None)
        if worked:
            rest = _SHORTEST
            is_sure = False
        elif drain and is_sure:
            return
        elif drain:
            low_water.forget()
            is_sure = True
        else:
            time.sleep(rest)
            rest = min(2 * rest, _LONGEST)


def _work_once(
    using: str,
    queues: Sequence[str],
    stopped: Callable[[], bool],
    appetite: dict[tuple[str, str], int],
    missed: dict[str, list[int]],
) -> int:
    """
    One bite of each queue in turn, so that a long one does not starve the others.

    A bite is twice what was got through last time: what slow effects leave would only be put back,
    and taken, and put back (measured: 50 a bite spent half its time on that).
    """

    def remember(rows: Sequence[Seen]) -> None:
        missed.setdefault(using, []).extend(row.id for row in rows)

    # A sibling that looks for work with a picture of a moment ago locks what we have marked since, and
    # lets go when it sees that. Left as they are, these rows would wait for their grace.
    dispatch.put_back(using, missed.pop(using, []))
    taken_in_all = 0
    whose = (using, *queues)
    for queue in low_water.queues(whose, lambda: list(waiting_queues(using, queues))):
        if stopped():
            break
        taken = take(using, queue, appetite.get((using, queue), dispatch.IDS_PER_HINT))
        taken_in_all += len(taken)
        left = _PutBack()
        for ids in in_hints(taken):
            deliver(using, ids, hand_on=left, missed=remember)
        # Not what was begun: what is paused is got through, too, and must not spoil the appetite.
        got_through = len(taken) - left.count
        appetite[using, queue] = min(max(2 * got_through, 2), dispatch.IDS_PER_HINT)
    return taken_in_all


@dataclass(slots=True)
class _PutBack:
    """There is no broker to hand anything on to: `deliver` makes the rows free for whoever looks."""

    count: int = 0

    def __call__(self, _using: str, _queue: str, ids: Sequence[int]) -> bool:
        self.count += len(ids)
        return False


class _Crew:
    """Children of one kind: as many as there are places, and whoever dies is replaced."""

    def __init__(
        self, kind: str, places: int, patience: float, be: Callable[[int], NoReturn]
    ) -> None:
        self._kind = kind
        self._places = places
        self._be = be  # given the parent's pid
        self._forks: list[float] = []  # when, lately
        self.patience = patience  # seconds it may take to end what it is at
        self.pids: set[int] = set()

    def fill(self) -> None:
        """Replace who is missing, but in a second no more than there are places."""
        now = time.monotonic()
        self._forks = [at for at in self._forks if now - at < _TOO_SHORT]
        while len(self.pids) < self._places and len(self._forks) < self._places:
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                self._be(parent)
            self.pids.add(pid)
            self._forks.append(now)

    def reap(self, *, ends: bool) -> None:
        """Bury the dead; where the crew does not *end*, say so."""
        for pid in list(self.pids):
            try:
                done, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                done, status = pid, None  # where SIGCHLD is ignored nobody learns how it ended
            if done:
                self.pids.discard(pid)
                if not ends:
                    code = "?" if status is None else os.waitstatus_to_exitcode(status)
                    logger.error(
                        "%s %d ended with %s; another takes its place", self._kind, pid, code
                    )

    def tell(self, number: signal.Signals) -> None:
        for pid in self.pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue  # it is waiting to be reaped


class Supervisor:
    """The parent: forks children, replaces the dead, and ends them all in order."""

    def __init__(self, processes: int, queues: Sequence[str], patience: timedelta) -> None:
        self._queues = queues
        self._stops = 0

        def relays() -> bool:
            # What is hinted where children of ours work is found by them first.
            return not processes and dispatch.is_configured()

        self._crews = (
            _Crew("child", processes, patience.total_seconds(), self._be_a_child),
            _Crew(
                "the sweeper", 1, sweeper.PATIENCE, lambda of: sweeper.be_the_sweeper(of, relays)
            ),
        )

    def run(self) -> None:
        """Until SIGTERM or SIGINT; a second one does not wait for what is running."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        # Children inherit nothing open: Django's checks may have asked the database.
        forking.close_everything()
        forking.share_memory()
        while not self._stops:
            for crew in self._crews:
                crew.reap(ends=False)
                crew.fill()
            time.sleep(_TICK)
        self._end()

    def _on_stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stops += 1

    def _be_a_child(self, parent: int) -> NoReturn:
        code = 1
        try:
            # SIGTERM is heard as the parent hears it, from the first moment on.
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells the parent, it us
            timeout.enforce_here()
            work(self._queues, lambda: self._stops > 0 or os.getppid() != parent)
            code = 0
        except BaseException:
            logger.exception("a child of effects_worker ends")
            sys.stderr.flush()
        finally:
            # Also where the log itself fails: the way back from here is the parent's.
            os._exit(code)

    def _end(self) -> None:
        """Let each finish what it is at, a delivery for as long as a lease; then no more."""
        began_at = time.monotonic()
        for crew in self._crews:
            crew.tell(signal.SIGTERM)
        while any(crew.pids for crew in self._crews):
            for crew in self._crews:
                crew.reap(ends=True)
                is_late = time.monotonic() >= began_at + crew.patience
                if is_late or self._stops >= 2:  # noqa: PLR2004  # the second Ctrl-C
                    crew.tell(signal.SIGKILL)
            time.sleep(_TICK)
