from __future__ import annotations

from .contender import Contender, Kind, manage

CONTENDERS = [
    Contender(
        name="django_tasks_db",
        title="django-tasks-db",
        kind=Kind.DURABLE,
        application="django_tasks_db",
        distributions=("django-tasks-db",),
        apps=("django_tasks_db",),
        settings=lambda _broker, _queue: {
            "TASKS": {
                "default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": ["default"]}
            }
        },
        # Its default is a second; a tenth is kinder to its latency.
        workers=lambda processes: [manage("db_worker", "--interval=0.1")] * processes,
        how="Its README; `db_worker --interval 0.1` instead of the default second, for its latency.",
    )
]
