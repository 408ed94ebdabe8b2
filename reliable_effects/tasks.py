"""
Where Celery looks for our tasks: each takes a hint or nothing, and calls one function.

One stable name for ever: workers of other releases find the effect's name in the row.
"""

from __future__ import annotations

from typing import Any

from celery import shared_task
from celery.signals import worker_process_init, worker_ready, worker_shutdown

from .conf import settings
from .outbox import timeout
from .outbox.deliver import on_hint
from .outbox.kept_connections import kept_connections
from .outbox.sweeps import PRUNE, RELAY, RESCUE, Timer, sweep

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
}


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


def _sweep(name: str) -> None:
    for using in settings().databases:
        sweep(using, name)


# Workers sweep on a timer of their own, so that nothing depends on beat.

_timers: list[Timer] = []


@worker_ready.connect(weak=False)
def _start_sweeping(**_: Any) -> None:
    if settings().sweep_in_workers:
        _timers.append(Timer())
        _timers[-1].start()


@worker_shutdown.connect(weak=False)
def _stop_sweeping(**_: Any) -> None:
    while _timers:
        _timers.pop().stop()


@worker_process_init.connect(weak=False)
def _may_be_killed(**_: Any) -> None:
    timeout.enforce_here()
