from __future__ import annotations

from .contender import Contender, Kind, manage

CONTENDERS = [
    Contender(
        name="django_jaiminho",
        title="django-jaiminho, keep-order",
        kind=Kind.DURABLE,
        application="django_jaiminho",
        distributions=("django-jaiminho",),
        apps=("jaiminho",),
        settings=lambda _broker, _queue: {
            "JAIMINHO_CONFIG": {"PUBLISH_STRATEGY": "keep-order", "DELETE_AFTER_SEND": True}
        },
        # One: its strategy keeps the order, so a second waits for the first.
        workers=lambda _processes: [manage("events_relay", "--run-in-loop", "--loop-interval=0.1")],
        how="Its README, *Keep Order*: the only strategy under which a crash after the commit loses"
        " nothing; one relay in a loop of 0.1 s, as it advises, whatever the number of workers.",
    )
]
