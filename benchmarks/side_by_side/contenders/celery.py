"""Plain Celery with a task as an expert writes it by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .contender import Contender, Kind, celery_worker


def settings(broker: str, queue: str) -> Mapping[str, Any]:
    return {
        "CELERY_BROKER_URL": broker,
        "CELERY_TASK_DEFAULT_QUEUE": queue,
        "CELERY_TASK_IGNORE_RESULT": True,
        "CELERY_TASK_ACKS_LATE": True,
        "CELERY_TASK_REJECT_ON_WORKER_LOST": True,
        # Celery closes the connection before and after each task unless it is told not to.
        "CELERY_DB_REUSE_MAX": 100_000,
        "CELERY_WORKER_PREFETCH_MULTIPLIER": 64,
    }


_HOW = (
    "`transaction.on_commit(task.delay)`; the task is acknowledged late, and one guarded UPDATE both"
    " looks again and marks it done. `CELERY_DB_REUSE_MAX` keeps connections (Celery, *Configuration"
    " and defaults*), results are ignored and 64 messages are fetched ahead, as *Optimizing* advises"
    " for short tasks; `--without-gossip --without-mingle`, as for ours."
)

CONTENDERS = [
    Contender(
        name="celery_redis",
        title="Celery on Redis, hand-written",
        kind=Kind.MESSAGE,
        application="celery",
        distributions=("celery", "redis"),
        broker="redis",
        settings=settings,
        workers=lambda processes: [celery_worker(processes)],
        databases=("postgres", "sqlite", "mariadb"),
        how=_HOW,
    ),
    Contender(
        name="celery_rabbit",
        title="Celery on RabbitMQ, hand-written",
        kind=Kind.MESSAGE,
        application="celery",
        distributions=("celery",),
        broker="rabbitmq",
        settings=settings,
        workers=lambda processes: [celery_worker(processes)],
        databases=("postgres", "sqlite", "mariadb"),
        how=_HOW,
    ),
]
