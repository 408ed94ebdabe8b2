"""
Carry out deliveries with no broker and no Celery: a parent that sweeps, and children that work.

A child takes due rows the way the relay does, and runs them itself instead of sending a hint. What
it may not keep (slow ones, and what is beyond its bound) it puts back for its siblings. A child
that dies is replaced; what it held comes back by its lease.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import FrameType
from typing import NoReturn

from django.db import Error

from ..conf import settings
from . import dispatch, forking, outage, sweeps, timeout
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
    appetite: dict[tuple[str, str], int] = {}
    left_alone: dict[str, float] = {}  # databases that failed, and until when
    rests: dict[str, float] = {}  # of those, the last
    while not stopped():
        worked = 0
        for using in settings().databases:
            began_at = time.monotonic()
            if began_at < left_alone.get(using, 0.0):
                continue
            try:
                with timeout.guarded():
                    worked += _work_once(using, queues, stopped, appetite)
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
        elif drain:
            return
        else:
            time.sleep(rest)
            rest = min(2 * rest, _LONGEST)


def _work_once(
    using: str,
    queues: Sequence[str],
    stopped: Callable[[], bool],
    appetite: dict[tuple[str, str], int],
) -> int:
    """
    One bite of each queue in turn, so that a long one does not starve the others.

    A bite is twice what was got through last time: what slow effects leave would only be put back,
    and taken, and put back (measured: 50 a bite spent half its time on that).
    """
    taken_in_all = 0
    for queue in list(waiting_queues(using, queues)):
        if stopped():
            break
        taken = take(using, queue, appetite.get((using, queue), dispatch.IDS_PER_HINT))
        taken_in_all += len(taken)
        begun = sum(deliver(using, ids, hand_on=_put_back) for ids in in_hints(taken))
        appetite[using, queue] = min(max(2 * begun, 2), dispatch.IDS_PER_HINT)
    return taken_in_all


def _put_back(_using: str, _queue: str, _ids: Sequence[int]) -> bool:
    """There is no broker to hand anything on to: `deliver` makes the rows free for whoever looks."""
    return False


class Supervisor:
    """The parent: forks children, replaces the dead, sweeps, and ends them all in order."""

    def __init__(self, processes: int, queues: Sequence[str], patience: timedelta) -> None:
        self._processes = processes
        self._queues = queues
        self._patience = patience.total_seconds()
        self._children: set[int] = set()
        self._forks: list[float] = []  # when, lately
        self._stops = 0

    def run(self) -> None:
        """Until SIGTERM or SIGINT; a second one does not wait for what is running."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        pause = min(settings().relay_period, settings().rescue_period).total_seconds() / 2
        sweep_at = 0.0
        forking.close_everything()  # Django's checks may have asked the database
        while not self._stops:
            self._reap()
            self._fill()
            if time.monotonic() >= sweep_at:
                self._sweep()
                sweep_at = time.monotonic() + pause
            time.sleep(_TICK)
        self._end()

    def _on_stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stops += 1

    def _sweep(self) -> None:
        try:
            # With a broker configured, other workers may be waiting for hints.
            sweeps.sweep_all(with_relay=dispatch.is_configured() and not self._processes)
        except Exception:
            logger.exception("the sweeps go on")
        finally:
            forking.close_everything()  # children are forked from here, and inherit nothing open

    def _fill(self) -> None:
        """Replace who is missing, but in a second no more than there are places."""
        now = time.monotonic()
        self._forks = [at for at in self._forks if now - at < _TOO_SHORT]
        while len(self._children) < self._processes and len(self._forks) < self._processes:
            pid = os.fork()
            if pid == 0:
                self._be_a_child()
            self._children.add(pid)
            self._forks.append(now)

    def _be_a_child(self) -> NoReturn:
        code = 1
        try:
            parent = os.getppid()
            stops = [False]

            def stop(_signal: int, _frame: FrameType | None) -> None:
                stops[0] = True

            signal.signal(signal.SIGTERM, stop)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells the parent, it us
            timeout.enforce_here()
            work(self._queues, lambda: stops[0] or os.getppid() != parent)
            code = 0
        except BaseException:
            logger.exception("a child of effects_worker ends")
            sys.stderr.flush()
        finally:
            # Also where the log itself fails: the way back from here is the parent's.
            os._exit(code)

    def _reap(self) -> None:
        for pid in list(self._children):
            try:
                done, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                done, status = pid, None  # where SIGCHLD is ignored nobody learns how it ended
            if done:
                self._children.discard(pid)
                if not self._stops:
                    code = "?" if status is None else os.waitstatus_to_exitcode(status)
                    logger.error("child %d ended with %s; another takes its place", pid, code)

    def _end(self) -> None:
        """Let the children finish what they are at, for as long as a lease; then no more."""
        self._tell(signal.SIGTERM)
        deadline = time.monotonic() + self._patience
        while self._children and self._stops < 2 and time.monotonic() < deadline:  # noqa: PLR2004  # the second Ctrl-C
            self._reap()
            time.sleep(_TICK)
        self._tell(signal.SIGKILL)
        while self._children:
            self._reap()
            time.sleep(_TICK)

    def _tell(self, number: signal.Signals) -> None:
        for pid in self._children:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue  # it is waiting to be reaped
