"""
Five million jobs ahead, or ten thousand: how long a tick takes that finds a hundred of them due.

`python -m benchmarks.schedule_scale [postgres|mariadb] [rows]` starts a server of its own with two
databases, one with each number, and ticks them in turn, so that both meet the same neighbours. What
is measured is the whole tick: its hundred events, each with one delivery. Emits are timed beside it.
"""

# ruff: noqa: T201  # a command talks to its caller
from __future__ import annotations

import logging
import os
import platform
import sys
import time
from collections.abc import Callable
from statistics import median

SERVER = sys.argv[1] if sys.argv[1:] else "postgres"
os.environ |= {"TEST_DATABASE": SERVER, "DJANGO_SETTINGS_MODULE": "tests.settings"}

import django  # noqa: E402  # it reads what was just set

django.setup()

from django.db import connections, transaction  # noqa: E402  # Django is ready only now
from django.test.runner import DiscoverRunner  # noqa: E402

from reliable_effects import effect  # noqa: E402
from reliable_effects.clock import DbNow  # noqa: E402
from reliable_effects.outbox.models import Delivery  # noqa: E402
from reliable_effects.schedule.models import ScheduledJob  # noqa: E402
from reliable_effects.schedule.tick import tick  # noqa: E402
from tests.schedule.conftest import NEXT_YEAR, SECOND  # noqa: E402
from tests.schedule.many import analyse, make_jobs  # noqa: E402
from tests.shop.events import order_seen  # noqa: E402
from tests.shop.models import Order  # noqa: E402

logging.getLogger("reliable_effects").setLevel(logging.ERROR)

MANY, FEW = int(sys.argv[2]) if sys.argv[2:] else 5_000_000, 10_000
DUE, ROUNDS, WARM_UP = 100, 31, 3
FIRST_SUBJECT = 1_000_000_000  # beyond those of the jobs that are ahead


@effect("benchmark.see", on=order_seen)
def see(_order: Order, _ctx: object) -> None:
    """What each job owes."""


def main() -> None:
    runner = DiscoverRunner(verbosity=0, interactive=False)
    databases = runner.setup_databases(aliases={"default", "other"}, serialized_aliases=set())
    try:
        rows = {"default": FEW, "other": MANY}
        for using, count in rows.items():
            began = time.perf_counter()
            make_jobs(using, count)
            _settle(using)
            print(f"{count:>9,} jobs made in {time.perf_counter() - began:.0f} s")
        ticks: dict[str, list[float]] = {using: [] for using in rows}
        emits: dict[str, list[float]] = {using: [] for using in rows}
        for number in range(ROUNDS + WARM_UP):
            for using in rows if number % 2 else reversed(rows):
                subjects = _due(using, number)
                taken = _timed(lambda using=using: tick(using))
                _check(using, number)
                emitted = _timed(lambda using=using, one=subjects[0]: _emit(using, one))
                if number >= WARM_UP:
                    ticks[using].append(taken)
                    emits[using].append(emitted)
        _report("a tick with 100 due", ticks)
        _report("one emit", emits)
        version = connections["default"].cursor()
        version.execute("SELECT version()")
        print(
            f"{version.fetchone()[0]}; Python {platform.python_version()}, {os.cpu_count()} cores"
        )
    finally:
        runner.teardown_databases(databases)


def _settle(using: str) -> None:
    """So that no vacuum of what was just made is measured."""
    if SERVER == "postgres":
        with connections[using].cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    else:
        analyse(using)


def _due(using: str, number: int) -> list[Order]:
    """A hundred jobs whose time has just come, each about an order of its own."""
    first = FIRST_SUBJECT + number * DUE
    subjects = Order.objects.using(using).bulk_create(Order(pk=first + n) for n in range(DUE))
    with transaction.atomic(using=using):
        plans = [(one, None, NEXT_YEAR, f"due:{one.pk}") for one in subjects]
        done = order_seen.schedule_many(plans, using=using)
    due = ScheduledJob.objects.using(using).filter(pk__in=[one.job_id for one in done])
    due.update(at=DbNow() - SECOND)
    return subjects


def _check(using: str, number: int) -> None:
    """What was measured was done."""
    written = Delivery.objects.using(using).filter(effect=see.name).count()
    expected = (number + 1) * DUE + number
    if written != expected:
        raise RuntimeError(f"{using}: {written} deliveries, not {expected}")


def _emit(using: str, order: Order) -> None:
    with transaction.atomic(using=using):
        order_seen.emit(order, using=using)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def _report(what: str, taken: dict[str, list[float]]) -> None:
    for name, of in (("median", median), ("fastest", min)):
        few, many = of(taken["default"]), of(taken["other"])
        print(
            f"{what}: {few:.1f} ms with {FEW:,} jobs ahead, {many:.1f} ms with {MANY:,};"
            f" ratio {many / few:.2f} ({name} of {ROUNDS}, in turn)"
        )


if __name__ == "__main__":
    main()
