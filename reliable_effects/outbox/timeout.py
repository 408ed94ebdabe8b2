"""
End a run that takes too long: first with an exception, then with the process.

The exception comes from SIGALRM and only while the effect itself is on the stack. Where even that
is not heard (a loop in C, a swallowed exception), faulthandler's watchdog thread, which needs no
GIL, ends the process when the lease is over, so that the slot comes back. Both need a process that
may be sacrificed and its main thread: prefork children and `effects_worker`.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import Any

from ..conf import settings
from ..exceptions import EffectTimeout

_STDERR = 2  # the descriptor, where a daemon has no sys.__stderr__

_enforced = False


def enforce_here() -> None:
    """This process may be killed: call it once in each worker child."""
    global _enforced  # noqa: PLW0603  # a fact about the process
    if threading.current_thread() is threading.main_thread():
        _hear_the_alarm()
        _enforced = True


def _hear_the_alarm() -> None:
    """For each run anew (under 2 µs): an earlier effect may have taken the signal for itself."""
    signal.signal(signal.SIGALRM, _on_alarm)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})


def is_enforced() -> bool:
    return _enforced and threading.current_thread() is threading.main_thread()


@dataclass(slots=True)
class Watch:
    """The time one run has: `timeout` at a time, `max_runtime` in all, `lease` to the bitter end."""

    effect: str
    timeout: timedelta
    lease: timedelta
    max_runtime: timedelta | None
    started: float
    armed: bool = False

    def left(self) -> timedelta:
        """How long the run may still take without another heartbeat."""
        if self.max_runtime is None:
            return self.timeout
        spent = timedelta(seconds=time.monotonic() - self.started)
        return min(self.timeout, self.max_runtime - spent)

    def arm(self) -> None:
        """
        Begin the timeout (anew).

        Raises:
            EffectTimeout: `max_runtime` is over.
        """
        left = self.left()
        if left <= timedelta(0):
            assert self.max_runtime is not None  # noqa: S101  # only it can be used up
            raise EffectTimeout(self.effect, self.max_runtime)
        if is_enforced():
            self.armed = True
            _hear_the_alarm()
            _kill_after(self.lease)
            signal.setitimer(signal.ITIMER_REAL, left.total_seconds())

    def disarm(self) -> None:
        if self.armed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.armed = False


class Unguarded(Exception):
    """Nothing would end this run if it hung, so it was not begun."""

    def __init__(self, effect: str) -> None:
        super().__init__(
            f"{effect} was not begun: this process cannot start the thread that would end it if it"
            " hung. Look at its limits of memory and threads, and restart it."
        )


_kill_at: float | None = None  # by the monotonic clock; None: nobody watches


def _kill_after(lease: timedelta) -> None:
    """
    Have this process killed when *lease* is over, give or take what is left alone.

    Setting the watchdog starts a thread (100 to 300 µs), more than many an effect takes. So what is
    set stays set from one run of a hint to the next, while it would strike less than a second
    early, and within the grace.

    Raises:
        RuntimeError: there is no memory for one more thread, or none is allowed.
    """
    global _kill_at  # noqa: PLW0603  # one watchdog per process, as in faulthandler
    seconds = lease.total_seconds()
    slack = min(1.0, settings().lease_grace.total_seconds() / 2)
    left = None if _kill_at is None else _kill_at - time.monotonic()
    if left is not None and seconds - slack <= left <= seconds:
        return
    _kill_at = None  # the one that was set is gone also where a new one cannot be started
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or _STDERR)
    _kill_at = time.monotonic() + seconds


_guarded_for: timedelta | None = None  # what the innermost `guarded` block may take


@contextmanager
def guarded(bound: timedelta | None = None) -> Iterator[None]:
    """
    What comes in the block may take *bound* (a usual lease) at a time; else the process ends.

    Also a question to a database that never answers: PostgreSQL's client has no timeout of its own
    for reading, and after a failover nobody may ever close the old connection. An effect has the
    lease of its own, from its beginning on; an idle process is not guarded.
    """
    global _guarded_for  # noqa: PLW0603  # there is one watchdog in a process
    if not is_enforced():
        yield
        return
    before, _guarded_for = _guarded_for, bound or settings().timeout + settings().lease_grace
    try:
        _kill_after(_guarded_for)
        yield
    finally:
        _guarded_for = before
        if before is None:
            _stand_down()
        else:
            _kill_after(before)


def _stand_down() -> None:
    global _kill_at  # noqa: PLW0603  # as above
    if _kill_at is not None:
        faulthandler.cancel_dump_traceback_later()
        _kill_at = None


_watch: Watch | None = None  # of the run in this process's main thread


@contextmanager
def watching(watch: Watch) -> Iterator[Watch]:
    """
    Arm *watch* for the block. Where nothing can be enforced it only counts `max_runtime`.

    Raises:
        Unguarded: it could be, and this process has no means; the block was not begun.
    """
    global _watch  # noqa: PLW0603  # a signal handler has no other way to find it
    try:
        watch.arm()
    except RuntimeError as error:
        raise Unguarded(watch.effect) from error
    if watch.armed:
        _watch = watch
    try:
        yield watch
    finally:
        watch.disarm()
        if _watch is watch:
            _watch = None


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the effect. This frame is how the alarm knows that the effect is on the stack."""
    return function(*arguments)


def _on_alarm(_signal: int, frame: FrameType | None) -> None:
    watch = _watch
    if watch is None or frame is None or frame.f_code is call.__code__:
        return  # the effect has just returned, or has not begun
    above: FrameType | None = frame.f_back
    while above is not None:
        if above.f_code is call.__code__:
            raise EffectTimeout(watch.effect, watch.timeout)
        above = above.f_back
