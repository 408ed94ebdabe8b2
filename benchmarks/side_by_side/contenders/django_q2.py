from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .contender import Contender, Kind, manage


def _settings(_broker: str, _queue: str) -> Mapping[str, Any]:
    # Its workers are told by an environment variable nothing, so the number is set here.
    return {
        "Q_CLUSTER": {
            "name": "bench",
            "orm": "default",
            "workers": 2,
            "timeout": 60,
            "retry": 120,
            "bulk": 50,
            "save_limit": 250,
        }
    }


CONTENDERS = [
    Contender(
        name="django_q2",
        title="django-q2, ORM broker",
        kind=Kind.DURABLE,
        application="django_q2",
        distributions=("django-q2",),
        apps=("django_q",),
        settings=_settings,
        workers=lambda _processes: [manage("qcluster")],
        how="The ORM broker (*Brokers*), `retry` above `timeout` and `bulk` 50 (*Configuration*: more"
        " at a time for brokers that can); its pusher and monitor come on top of the two workers.",
    )
]
