from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import celery
from .contender import Contender, Kind, celery_worker, manage


def _settings(broker: str, queue: str) -> Mapping[str, Any]:
    return {
        **celery.settings(broker, queue),
        "CELERY_OUTBOX_APP": "benchmarks.side_by_side.site.celery.app",
    }


CONTENDERS = [
    Contender(
        name="django_celery_outbox",
        title="django-celery-outbox, on RabbitMQ",
        kind=Kind.RELAY,
        application="django_celery_outbox",
        distributions=("django-celery-outbox", "celery"),
        broker="rabbitmq",
        apps=("django_celery_outbox",),
        settings=_settings,
        workers=lambda processes: [
            manage("celery_outbox_relay", "--idle-time=0.1"),
            celery_worker(processes),
        ],
        how="Its README: `OutboxCelery`, and the relay beside the workers; `--idle-time 0.1` instead of"
        " the default second, for its latency. The task is the hand-written one.",
    )
]
