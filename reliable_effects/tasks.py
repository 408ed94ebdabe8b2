"""
Where Celery looks for our tasks: each takes a hint or nothing, and calls one function.

One stable name for ever: workers of other releases find the effect's name in the row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import shared_task
from celery.exceptions import InvalidTaskError
from celery.signals import (
    celeryd_after_setup,
    worker_process_init,
    worker_ready,
    worker_shutdown,
)
from celery.worker.strategy import default

from .conf import settings
from .console.groups.grouping import GROUPING
from .console.redriving.steps import REDRIVES
from .console.rollups.sweep import ROLLUP
from .idempotency.sweeps import IDEMPOTENCY
from .inbox.prune import INBOX
from .outbox import forking, timeout
from .outbox.deliver import on_hint
from .outbox.kept_connections import kept_connections
from .outbox.sweeper import SweeperProcess, SweeperThread
from .outbox.sweeps import PRUNE, RELAY, RESCUE, sweep
from .reconcile.sweeps import COVERAGE, RECONCILE, RECONCILE_ALL
from .reports.sweeps import PREBUILD, TIDY
from .schedule.tick import TICK
from .watch.status import ALERTS

_DAY = 86_400  # seconds; a project's own time limit is not about our batches: leases are
_LIMITS: dict[str, Any] = {
    "ignore_result": True,
    # Early: the row is the truth, and a message that comes back after a death is only a hint.
    "acks_late": False,
    "reject_on_worker_lost": False,
    "max_retries": 0,
    "time_limit": _DAY,
    "soft_time_limit": _DAY,
    "serializer": "json",
    "Strategy": "reliable_effects.tasks:refuse_malformed",
}


def refuse_malformed(task: Any, app: Any, consumer: Any, **options: Any) -> Callable[..., Any]:
    """
    How a worker takes our messages from the broker: as any other, but what is none is dropped.

    Celery takes the shape of a message for granted. One whose body is empty, `null` or `[]`, or
    whose time limits are words, ends the worker; if it is not acknowledged by then it comes back,
    and ends the next.
    """
    take = default(task, app, consumer, **options)

    def take_or_refuse(message: Any, body: Any, *args: Any, **options: Any) -> Any:
        if body is None and not _is_call(message.payload):  # else Celery has looked at it
            raise InvalidTaskError("its body is not [[...], {...}, {...}]")
        if not _are_limits(message.headers.get("timelimit")):
            raise InvalidTaskError("its time limits are no numbers")
        return take(message, body, *args, **options)

    return take_or_refuse


def _is_call(payload: Any) -> bool:
    match payload:
        case [list(), dict(), dict()]:
            return True
        case _:
            return False


def _are_limits(value: Any) -> bool:
    return value is None or (
        isinstance(value, list | tuple)
        and len(value) == 2  # noqa: PLR2004  # the hard and the soft one
        and all(limit is None or type(limit) in (int, float) for limit in value)
    )


@shared_task(name="reliable_effects.deliver", **_LIMITS)
def deliver(hint: Any) -> None:
    with kept_connections():
        on_hint(hint)


@shared_task(name="reliable_effects.relay", **_LIMITS)
def relay() -> None:
    _sweep(RELAY)


@shared_task(name="reliable_effects.rescue", **_LIMITS)
def rescue() -> None:
    _sweep(RESCUE)


@shared_task(name="reliable_effects.prune", **_LIMITS)
def prune() -> None:
    _sweep(PRUNE)


@shared_task(name="reliable_effects.reconcile", **_LIMITS)
def reconcile() -> None:
    _sweep(RECONCILE)


@shared_task(name="reliable_effects.reconcile_all", **_LIMITS)
def reconcile_all() -> None:
    _sweep(RECONCILE_ALL)


@shared_task(name="reliable_effects.coverage", **_LIMITS)
def coverage() -> None:
    _sweep(COVERAGE)


@shared_task(name="reliable_effects.tick", **_LIMITS)
def tick() -> None:
    _sweep(TICK)


@shared_task(name="reliable_effects.idempotency", **_LIMITS)
def idempotency() -> None:
    _sweep(IDEMPOTENCY)


@shared_task(name="reliable_effects.inbox", **_LIMITS)
def inbox() -> None:
    _sweep(INBOX)


@shared_task(name="reliable_effects.grouping", **_LIMITS)
def grouping() -> None:
    _sweep(GROUPING)


@shared_task(name="reliable_effects.alerts", **_LIMITS)
def alerts() -> None:
    _sweep(ALERTS)


@shared_task(name="reliable_effects.reports_prebuild", **_LIMITS)
def reports_prebuild() -> None:
    _sweep(PREBUILD)


@shared_task(name="reliable_effects.reports_tidy", **_LIMITS)
def reports_tidy() -> None:
    _sweep(TIDY)


@shared_task(name="reliable_effects.redrives", **_LIMITS)
def redrives() -> None:
    _sweep(REDRIVES)


@shared_task(name="reliable_effects.rollup", **_LIMITS)
def rollup() -> None:
    _sweep(ROLLUP)


def _sweep(name: str) -> None:
    for using in settings().databases:
        sweep(using, name)


# Workers sweep on a timer of their own, so that nothing depends on beat.

_sweepers: list[SweeperProcess | SweeperThread] = []


@celeryd_after_setup.connect(weak=False)
def _before_the_pool(instance: Any, **_: Any) -> None:
    """Before the pool is started and anything is opened: that is the moment to fork."""
    if not instance.pool_cls.uses_semaphore:  # it is prefork's, of all pools
        return
    forking.share_memory()
    if settings().sweep_in_workers:
        _start(SweeperProcess())


@worker_ready.connect(weak=False)
def _sweep_in_the_pool(**_: Any) -> None:
    if settings().sweep_in_workers and not _sweepers:
        _start(SweeperThread())


def _start(sweeper: SweeperProcess | SweeperThread) -> None:
    _sweepers.append(sweeper)
    sweeper.start()


@worker_shutdown.connect(weak=False)
def _stop_sweeping(**_: Any) -> None:
    while _sweepers:
        _sweepers.pop().stop()


@worker_process_init.connect(weak=False)
def _may_be_killed(**_: Any) -> None:
    timeout.enforce_here()
