from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .contender import Contender, Kind, manage


def _settings(broker: str, _queue: str) -> Mapping[str, Any]:
    return {
        "DRAMATIQ_BROKER": {
            "BROKER": "dramatiq.brokers.redis.RedisBroker",
            "OPTIONS": {"url": broker},
            "MIDDLEWARE": [
                "dramatiq.middleware.AgeLimit",
                "dramatiq.middleware.TimeLimit",
                "dramatiq.middleware.Callbacks",
                "dramatiq.middleware.Retries",
                "django_dramatiq.middleware.DbConnectionsMiddleware",
            ],
        }
    }


CONTENDERS = [
    Contender(
        name="dramatiq",
        title="dramatiq on Redis",
        kind=Kind.MESSAGE,
        application="dramatiq",
        distributions=("dramatiq", "django-dramatiq", "redis"),
        broker="redis",
        apps=("django_dramatiq",),
        settings=_settings,
        workers=lambda processes: [
            manage("rundramatiq", f"--processes={processes}", "--threads=8")
        ],
        how="django_dramatiq's README, without the middleware that writes a row for each message;"
        " `on_commit(actor.send)`, eight threads in each process, its default.",
    )
]
