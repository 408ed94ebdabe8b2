"""
What `make prove` does to a running shop: kill workers, wipe and kill the broker, and truncate the
tables of reliable_effects.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import requests

from example_project.processes import Process
from example_project.stack import Stack

if TYPE_CHECKING:
    from example_project.loss import Loss

CHILDREN, GROUPS, WIPES, BROKER_KILLS = 9, 3, 2, 1  # how often each is done
LOSSES = (("deliveries",), ("events",), ("deliveries", "events", "calls"))
_EARLY = 8  # blows, in sixteen seconds; the customers order for longer
_ENOUGH = 10  # deliveries that must be open for a loss to be one; there are dozens under fire


class Chaos:
    """
    A seeded order of blows, dealt one at a time by `strike`.

    `crashes` counts the killed processes that may have been running an effect: a worker's pool
    children, or the worker itself where it has none.
    """

    def __init__(self, stack: Stack, *, seed: int = 0, losses: bool = True) -> None:
        self._stack = stack
        self._dice = random.Random(seed)
        self.kills = self.crashes = self.wipes = self.broker_kills = 0
        self.losses: list[tuple[Loss, int]] = []  # and how many calls had arrived by then
        blows: list[Callable[[], str]] = [self._kill_a_child] * CHILDREN
        blows += [self._kill_a_worker] * GROUPS
        if stack.broker:
            blows += [self._wipe_the_broker] * WIPES + [self._kill_the_broker] * BROKER_KILLS
        self._dice.shuffle(blows)
        if losses:
            self._put_early(blows)
        self._blows = blows  # the last is dealt first

    @property
    def is_over(self) -> bool:
        return not self._blows

    def strike(self) -> str:
        """Deal the next blow; return what it was, or "" where nobody was there to be hit."""
        self.heal()
        blow = self._blows.pop()
        told = blow()
        if not told:
            self._blows.insert(-1, blow)  # behind the next one: a loss needs customers who order
        return told

    def _put_early(self, blows: list[Callable[[], str]]) -> None:
        """Among the first, while orders are placed: later there may be too little to lose."""
        early = sorted(self._dice.sample(range(1, _EARLY), len(LOSSES)), reverse=True)
        for place, tables in zip(early, self._dice.sample(LOSSES, len(LOSSES)), strict=True):
            blows.insert(len(blows) - place, partial(self._lose, *tables))

    def heal(self) -> None:
        """
        Have everything run again, as a supervisor would.

        A Celery worker may end by itself when its Redis dies: kombu fails as it tidies up.
        """
        for worker in self._stack.workers:
            if not worker.is_alive():
                worker.start()

    def _kill_a_child(self) -> str:
        worker = self._someone_at_work()
        children = worker.children() if worker else []
        if worker is None:
            return ""
        if not children:
            return self._kill_a_worker()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._dice.choice(children), signal.SIGKILL)
            self.kills += 1
            self.crashes += 1
        return f"killed a child of {worker.name}"

    def _kill_a_worker(self) -> str:
        worker = self._someone_at_work()
        if worker is None:
            return ""
        self.crashes += max(1, len(worker.children()))
        worker.kill()
        self.kills += 1
        worker.start()
        return f"killed {worker.name} and its children, started it again"

    def _wipe_the_broker(self) -> str:
        with socket.create_connection(("127.0.0.1", self._stack.redis_port), 5) as redis:
            redis.sendall(b"FLUSHALL\r\n")
            answer = redis.recv(64)
        if not answer.startswith(b"+OK"):
            raise RuntimeError(f"FLUSHALL: {answer!r}")
        self.wipes += 1
        return "wiped the broker"

    def _kill_the_broker(self) -> str:
        broker = self._stack.broker
        if broker is None:
            return ""
        broker.kill()
        time.sleep(1)  # long enough for workers and web to run into it
        broker.start()
        broker.wait_until_ready()
        self.broker_kills += 1
        return "killed the broker, started an empty one"

    def _lose(self, *tables: str) -> str:
        from example_project.loss import lose, open_deliveries  # noqa: PLC0415  # after setup

        if open_deliveries() < _ENOUGH:
            return ""
        loss = lose(*tables)
        last = requests.get(f"{self._stack.partners_url}/ledger?last=1", timeout=30).json()
        self.losses.append((loss, max((line["id"] for line in last["arrivals"]), default=0)))
        return f"truncated {loss}"

    def _someone_at_work(self) -> Process | None:
        """Pick a worker that is up: one that is still starting has nothing to lose."""
        up = [worker for worker in self._stack.workers if worker.is_alive() and worker.is_ready()]
        return self._dice.choice(up) if up else None
