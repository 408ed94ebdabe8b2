from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .contender import Contender, Kind, celery_worker, manage


def _celery(broker: str, queue: str) -> Mapping[str, Any]:
    # The queue has a name of its own only because all contenders share the broker.
    return {"CELERY_BROKER_URL": broker, "RELIABLE_EFFECTS": {"QUEUE": queue}}


QUEUE = "{queue}"  # in a command; the stage knows its name
_CELERY = ("django-reliable-effects", "celery")
_HOW = "As [installed](how-to/deploy.md): every setting at its default."

CONTENDERS = [
    Contender(
        name="ours",
        title="reliable_effects, effects_worker",
        kind=Kind.OURS,
        application="ours",
        distributions=("django-reliable-effects",),
        apps=("reliable_effects",),
        settings=lambda _broker, _queue: {"RELIABLE_EFFECTS": {"TRANSPORT": "none"}},
        workers=lambda processes: [manage("effects_worker", f"--processes={processes}")],
        databases=("postgres", "sqlite", "mariadb"),
        how="[No broker](how-to/run-without-a-broker.md): `TRANSPORT` is `none`, all else at its"
        " default.",
    ),
    Contender(
        name="ours_redis",
        title="reliable_effects, Celery on Redis",
        kind=Kind.OURS,
        application="ours",
        distributions=(*_CELERY, "redis"),
        broker="redis",
        apps=("reliable_effects",),
        settings=_celery,
        workers=lambda processes: [celery_worker(processes, f"--queues={QUEUE}")],
        databases=("postgres", "sqlite", "mariadb"),
        how=_HOW,
    ),
    Contender(
        name="ours_rabbit",
        title="reliable_effects, Celery on RabbitMQ",
        kind=Kind.OURS,
        application="ours",
        distributions=_CELERY,
        broker="rabbitmq",
        apps=("reliable_effects",),
        settings=_celery,
        workers=lambda processes: [celery_worker(processes, f"--queues={QUEUE}")],
        databases=("postgres", "sqlite", "mariadb"),
        how=_HOW,
    ),
]
