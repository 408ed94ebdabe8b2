"""
The sweeps of a worker, off the path of its deliveries: on a timer, with no beat and no broker.

A worker that forks its children (Celery's prefork, effects_worker) sweeps in a process of its own. A thread beside
the forking would hand down what it has open: with SQLite a child born in that moment read a
deleted write-ahead log for the rest of its life, and did nothing (docs/adr/0011). Other pools fork
nothing, so there a thread will do.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from django.db import connections

from ..conf import settings
from . import dispatch, forking, timeout
from .kept_connections import give_back
from .sweeps import sweep_all

logger = logging.getLogger("reliable_effects")

PATIENCE = 5.0  # seconds that a sweep in progress has to end in when the worker stops


def sweep_until(
    ended: Callable[[float], bool], relays: Callable[[], bool] = dispatch.is_configured
) -> None:
    """
    Sweep whenever a turn has come, until *ended*, which waits for the seconds it is given.

    Where it *relays*, what is due is hinted to a broker as well.
    """
    # Half the shortest period, so that the turn is met within it.
    pause = min(settings().relay_period, settings().rescue_period).total_seconds() / 2
    while not ended(pause):
        try:
            sweep_all(with_relay=relays())
        except Exception:
            # The last line of defence: a timer that dies is a sweep that stops.
            logger.exception("the sweeps' timer goes on")
            connections.close_all()
        give_back()


class SweeperThread:
    """For workers that fork nothing: threads, gevent, solo."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="effects-sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        sweep_until(self._stopped.wait)
        connections.close_all()


class SweeperProcess:
    """For workers that fork: a child that sweeps, and a thread that waits for it to replace it."""

    def __init__(self) -> None:
        self._pid = 0
        self._stopping = threading.Event()
        self._guard = threading.Thread(target=self._replace, name="effects-guard", daemon=True)

    def start(self) -> None:
        self._fork()
        self._guard.start()

    def stop(self) -> None:
        """Let it end what it is at, for a moment; then no more."""
        self._stopping.set()
        self._kill(signal.SIGTERM)
        self._guard.join(PATIENCE)
        self._kill(signal.SIGKILL)
        self._guard.join(PATIENCE)

    def _fork(self) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            be_the_sweeper(parent)
        logger.info("sweeping in process %d", pid)
        self._pid = pid

    def _replace(self) -> None:
        while True:
            try:
                _, status = os.waitpid(self._pid, 0)
            except ChildProcessError:
                status = -1  # somebody else has waited for it
            self._pid = 0
            if self._stopping.is_set():
                return
            logger.error("the sweeper ended with %d; another takes its place", status)
            self._stopping.wait(1)  # second: whatever kills it must not make us busy
            if self._stopping.is_set():
                return
            self._fork()

    def _kill(self, number: signal.Signals) -> None:
        if self._pid:  # else it is gone, and the number may be somebody else's
            with suppress(ProcessLookupError):
                os.kill(self._pid, number)


def be_the_sweeper(parent: int, relays: Callable[[], bool] = dispatch.is_configured) -> NoReturn:
    """In the child of a fork: sweep until *parent* says SIGTERM, or is gone."""
    stops = [False]

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stops[0] = True

    def ended(pause: float) -> bool:
        deadline = time.monotonic() + pause
        while not stops[0] and os.getppid() == parent:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, 0.1))  # a signal is heard, and a dead parent seen, within that
        return True

    try:
        forking.leave_to_the_parent()
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells the worker, it tells us
        for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)  # those of the worker are not ours
        timeout.enforce_here()  # a database that never answers ends us, and another takes our place
        sweep_until(ended, relays)
    finally:
        # Not through the exits of the worker, whose handlers and buffers were copied with it.
        os._exit(0)
