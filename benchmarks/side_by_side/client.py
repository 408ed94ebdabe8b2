"""
A process of the site that does what the harness says: requests, filling, counting.

Lines of JSON come in and go out. There is one for each contender, and only one works at a time, so
that all of them meet the same machine.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import django

_CHUNK = 1000  # orders filled at a time


def main() -> None:
    # What else is printed must not come between the lines.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    django.setup()
    from benchmarks.side_by_side.site import tasks  # noqa: PLC0415  # Django is ready only now

    _Client(tasks.application, answers).listen()


class _Client:
    def __init__(self, application: Any, answers: TextIO) -> None:
        self.application = application
        self._answers = answers

    def listen(self) -> None:
        for line in sys.stdin:
            asked = json.loads(line)
            work: Callable[..., Any] = getattr(self, "do_" + asked.pop("do"))
            try:
                answer = {"is": work(**asked)}
            except Exception as error:  # noqa: BLE001  # it is told to whoever asked
                answer = {"error": f"{type(error).__name__}: {error}"}
            self._answers.write(json.dumps(answer) + "\n")

    def do_migrate(self, statements: list[str]) -> None:
        from django.core.management import call_command  # noqa: PLC0415
        from django.db import connection  # noqa: PLC0415

        call_command("migrate", run_syncdb=True, verbosity=0, interactive=False)
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def do_block(self, effects: int, kind: str, seconds: float) -> dict[str, Any]:
        """Requests for so long, one after the other: how long each took, in seconds."""
        gc.collect()  # of what other blocks left
        taken = []
        cpu, until = time.process_time(), time.monotonic() + seconds
        while time.monotonic() < until:
            taken.append(self._request(effects, kind)[1])
        return {"taken": taken, "cpu": (time.process_time() - cpu) / len(taken)}

    def do_poisson(
        self, rate: float, seconds: float, effects: int, kind: str, seed: int
    ) -> list[tuple[int, float]]:
        """Requests at random moments, *rate* a second: each order, and when it was committed."""
        chance = random.Random(seed)  # the same moments for everybody
        committed = []
        at = time.monotonic()
        until = at + seconds
        while (at := at + chance.expovariate(rate)) < until:
            time.sleep(max(0.0, at - time.monotonic()))
            order, _, when = self._request(effects, kind)
            committed.append((order, when))
        return committed

    def do_once(self, effects: int, kind: str) -> tuple[int, float, float]:
        """One request: its order, the seconds it took, and when it was committed."""
        return self._request(effects, kind)

    def _request(self, effects: int, kind: str) -> tuple[int, float, float]:
        from django.db import transaction  # noqa: PLC0415

        from benchmarks.side_by_side.site.models import Order  # noqa: PLC0415

        when: list[float] = []
        began = time.perf_counter()
        with transaction.atomic():
            order = Order.place()
            # The first hook of all: nobody has sent anything yet.
            transaction.on_commit(lambda: when.append(time.monotonic()))
            if effects:
                self.application.owe(order, effects, kind)
        return order.pk, time.perf_counter() - began, when[0]

    def do_fill(self, count: int, kind: str) -> float:
        """So many orders with one effect each; the seconds that owing them took."""
        from benchmarks.side_by_side.site.models import Order  # noqa: PLC0415

        taken = 0.0
        for first in range(0, count, _CHUNK):
            size = min(_CHUNK, count - first)
            orders = Order.objects.bulk_create(
                Order(email="ada@example.com", total="19.90") for _ in range(size)
            )
            began = time.perf_counter()
            self.application.fill(orders, kind)
            taken += time.perf_counter() - began
        return taken

    def do_unfinished(self) -> int:
        return int(self.application.unfinished())

    def do_call(self, function: str, **arguments: Any) -> Any:
        """Call *function* of `benchmarks.side_by_side.inside`: what only ours has."""
        from benchmarks.side_by_side import inside  # noqa: PLC0415

        return getattr(inside, function)(**arguments)


if __name__ == "__main__":
    main()
