from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .contender import Contender, Kind, manage

DESTINATION, QUEUE = "/exchange/amq.topic/bench.effects", "bench.effects"


def _settings(broker: str, _queue: str) -> Mapping[str, Any]:
    parts = urlsplit(broker)
    return {
        "DJANGO_OUTBOX_PATTERN": {
            "DEFAULT_STOMP_HOST_AND_PORTS": [(parts.hostname, int(parts.port or 61613))],
            "DEFAULT_STOMP_USERNAME": "guest",
            "DEFAULT_STOMP_PASSCODE": "guest",
            "DEFAULT_PRODUCER_WAITING_TIME": 1,
        }
    }


def _workers(processes: int) -> list[list[str]]:
    callback = "benchmarks.side_by_side.applications.django_outbox_pattern.receive"
    return [manage("publish"), *[manage("subscribe", callback, DESTINATION, QUEUE)] * processes]


CONTENDERS = [
    Contender(
        name="django_outbox_pattern",
        title="django-outbox-pattern, STOMP",
        kind=Kind.RELAY,
        application="django_outbox_pattern",
        distributions=("django-outbox-pattern",),
        broker="stomp",
        apps=("django_outbox_pattern",),
        settings=_settings,
        workers=_workers,
        how="Its README: `Published.objects.create` in the transaction, `publish` beside `subscribe`;"
        " the callback saves its payload in one transaction with its work.",
    )
]
