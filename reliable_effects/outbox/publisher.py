"""
One thread per process owns the way to the broker.

Hints come in from any thread, messages go out through `send`; what is promised is time. A request
hands its hints over and waits for nothing. A sweep wants to know, and waits for the thread: a dead,
hung or unresolvable broker costs those of one process `patience` once per `rest`. Neither gets an
exception. No broker client can promise that itself: name look-ups take no timeout, and closing a
channel cleanly waits for an answer.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from queue import Full, Queue
from typing import TypedDict

logger = logging.getLogger(__name__)

ROOM = 256  # callers in line: at 0.1 to 0.2 ms a hint, whoever stands behind them is overdue anyway


class Hint(TypedDict):
    """All that is ever in a message: which rows of which database to look at now."""

    v: int
    db: str
    ids: list[int]


Send = Callable[[str, Hint], None]


class HintRefused(Exception):
    """
    The broker answers, but will not take this hint; others may go through.

    For `send` to raise, e.g. where a queue exists with other arguments. Any other exception
    means that the broker cannot be reached, and opens the breaker for every queue.
    """


class Publisher:
    """
    Hands hints to one thread, made on first use in each process, and waits a bounded time or none.

    Args:
        send: Sends one hint to one queue; runs in the thread only.
        patience: How long one hint may take; whoever waits for it waits no longer.
        rest: How long nobody tries after a failure. Then one caller does.
        overdue: From here on one caller waits and the others leave.
    """

    def __init__(
        self,
        send: Send,
        *,
        patience: timedelta = timedelta(seconds=1),
        rest: timedelta = timedelta(seconds=30),
        overdue: timedelta = timedelta(milliseconds=50),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._patience = patience.total_seconds()
        self._rest = rest
        self._overdue = overdue.total_seconds()
        self._clock = clock
        self._lanes: dict[int, _Lane] = {}

    def publish(self, queue: str, hint: Hint) -> bool:
        """
        Send *hint*, and wait; False where it is not known to be sent: the relay finds the row.

        Never raises, except what is aimed at the caller's own thread, such as SystemExit.
        """
        job = self._job([(queue, hint)])
        lane = self._lane()
        if lane.takes(job):
            self._wait(lane, job)
        return job.sent == 1

    def hand_over(self, hints: Sequence[tuple[str, Hint]]) -> None:
        """
        Have *hints* sent, and wait for nothing: what one transaction has to say.

        What does not go out within `patience` never does, and the relay finds the rows.
        """
        job = self._job(hints)
        lane = self._lane()
        if lane.takes(job):
            lane.hand_over(job)

    def flush(self) -> bool:
        """Wait, at most `patience`, until all that was handed over has gone out, or never will."""
        lane = self._lane()
        job = self._job([])
        return lane.is_idle or (lane.hand_over(job) and job.over.wait(self._patience))

    @property
    def is_open(self) -> bool:
        """Whether the last that was heard of the broker was bad. Reading it probes nothing."""
        return self._lane().is_open

    @property
    def would_try(self) -> bool:
        """Whether a hint would be tried now: all is well, or the rest is over and one may probe."""
        lane = self._lane()
        return not (lane.is_open and lane.breaker.is_resting)

    def reset(self) -> None:
        """Forget this process's thread and breaker. For tests."""
        lane = self._lanes.pop(os.getpid(), None)
        if lane is not None:
            lane.stop(self._patience)

    def _job(self, hints: Sequence[tuple[str, Hint]]) -> _Job:
        return _Job(hints, deadline=self._clock() + self._patience)

    def _wait(self, lane: _Lane, job: _Job) -> None:
        until = self._clock() + self._patience
        if not lane.hand_over(job) or job.over.wait(min(self._overdue, self._patience)):
            return
        if not lane.patient.acquire(blocking=False):
            return  # Somebody else finds out how long this takes; the row needs no hint to live.
        try:
            if lane.breaker.is_open and not job.is_probe:
                return  # Somebody else just did.
            if not job.over.wait(max(until - self._clock(), 0)):
                lane.give_up()
        finally:
            lane.patient.release()

    def _lane(self) -> _Lane:
        # A fork copies the lane but not its thread, and its locks may be held by threads that
        # are not there. So a child makes a lane of its own, and setdefault, which is one step,
        # keeps two of its threads from making two without a lock that the fork could have copied.
        pid = os.getpid()
        lane = self._lanes.get(pid)
        return lane or self._lanes.setdefault(pid, self._new_lane())

    def _new_lane(self) -> _Lane:
        return _Lane(self._send, _Breaker(self._rest, self._clock), self._patience, self._clock)


class _Job:
    """What one caller wants sent, and what became of it."""

    __slots__ = ("deadline", "hints", "is_probe", "over", "sent")

    def __init__(self, hints: Sequence[tuple[str, Hint]], deadline: float) -> None:
        self.hints = hints
        self.deadline = deadline
        self.is_probe = False
        self.sent = 0  # of the hints
        self.over = threading.Event()


class _Lane:
    """One process's way to the broker: its thread, the line before it, its breaker."""

    def __init__(
        self, send: Send, breaker: _Breaker, patience: float, clock: Callable[[], float]
    ) -> None:
        self._send = send
        self._patience = patience
        self._clock = clock
        self._line: Queue[_Job | None] = Queue(ROOM)
        self._busy = False
        self._stands_since: float | None = None  # nothing has come of the line; None: it is empty
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._refused: set[str] = set()
        self.breaker = breaker
        self.patient = threading.Lock()  # held by the one caller who waits for an overdue answer

    @property
    def is_open(self) -> bool:
        """The breaker's; it opens here where nothing has come of the line for too long."""
        since = self._stands_since
        is_stuck = since is not None and self._clock() - since > self._patience
        if is_stuck and not self.breaker.is_open:
            self.give_up()
        return self.breaker.is_open

    @property
    def is_idle(self) -> bool:
        return self._stands_since is None

    def give_up(self) -> None:
        self.breaker.open(f"no answer within {self._patience:g} s")

    def takes(self, job: _Job) -> bool:
        """Whether *job* is to be handed over: all is well, or it is the probe."""
        if not self.is_open:
            return True
        # Whatever the thread does while the breaker is open, it has done since before: it hangs
        # in a name look-up, say. A job behind that would only wait.
        job.is_probe = self.breaker.admits_a_probe() and not self._busy
        return job.is_probe

    def hand_over(self, job: _Job) -> bool:
        # Before it is in line: the thread says when the line is empty again.
        if self._stands_since is None:
            self._stands_since = self._clock()
        try:
            self._line.put_nowait(job)
            self._keep_running()
        except (Full, RuntimeError):  # the second: no thread can be started (any more)
            return False
        return True

    def stop(self, patience: float) -> None:
        """End the thread when what is in line has gone out."""
        if self._thread is not None and self._thread.is_alive():
            with suppress(Full):
                self._line.put_nowait(None)
            self._thread.join(patience)

    def _leave(self) -> None:
        """At exit: whoever has just committed did not wait, and may have been the last."""
        self.stop(0 if self.breaker.is_open else self._patience)

    def _keep_running(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                # A daemon, so that a hung broker cannot keep the interpreter from its exit.
                self._thread = threading.Thread(
                    target=self._run, name="reliable-effects-publisher", daemon=True
                )
                self._thread.start()
                atexit.register(self._leave)

    def _run(self) -> None:
        while (job := self._line.get()) is not None:
            # A caller who left early is still served, until its deadline: the hint is as good
            # as before. Later it is not, and those who wait now come first.
            if self._clock() < job.deadline and (job.is_probe or not self.breaker.is_open):
                self._busy = True
                try:
                    self._work(job)
                finally:
                    self._busy = False
            self._stands_since = None if self._line.empty() else self._clock()
            job.over.set()

    def _work(self, job: _Job) -> None:
        for name, hint in job.hints:
            self._stands_since = self._clock()
            try:
                self._send(name, hint)
            except HintRefused as error:
                if name not in self._refused:
                    self._refused.add(name)
                    logger.warning("Queue %r refuses hints: %s", name, error)
            except Exception as error:  # noqa: BLE001  # brokers' clients raise anything at all
                self.breaker.open(f"{type(error).__name__}: {error}")
                return
            else:
                job.sent += 1
        if job.is_probe and self._clock() < job.deadline:
            self.breaker.close()


class _Breaker:
    """Closed: everybody tries. Open: nobody does, but one probe after each rest."""

    def __init__(self, rest: timedelta, clock: Callable[[], float]) -> None:
        self._rest = rest.total_seconds()
        self._clock = clock
        self._rests_until: float | None = None  # None: closed
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        return self._rests_until is not None

    @property
    def is_resting(self) -> bool:
        rests_until = self._rests_until
        return rests_until is not None and self._clock() < rests_until

    def admits_a_probe(self) -> bool:
        """Whether the caller is the one who may try now; it then is for a whole rest."""
        with self._lock:
            if not self.is_open or self.is_resting:
                return False
            self._rests_until = self._clock() + self._rest
            return True

    def open(self, why: str) -> None:
        with self._lock:
            was_open = self.is_open
            self._rests_until = self._clock() + self._rest
        if not was_open:
            logger.warning("Broker out of reach, hints rest for %g s: %s", self._rest, why)

    def close(self) -> None:
        with self._lock:
            was_open = self.is_open
            self._rests_until = None
        if was_open:
            logger.info("Broker in reach again, hints go out.")
