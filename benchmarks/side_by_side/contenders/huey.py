from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .contender import Contender, Kind, manage


def _settings(broker: str, _queue: str) -> Mapping[str, Any]:
    return {
        "HUEY": {
            "name": "bench",
            "huey_class": "huey.RedisHuey",
            "immediate": False,
            "results": False,
            "connection": {"url": broker},
            "consumer": {"worker_type": "process"},
        }
    }


CONTENDERS = [
    Contender(
        name="huey",
        title="huey on Redis",
        kind=Kind.MESSAGE,
        application="huey",
        distributions=("huey", "redis"),
        broker="redis",
        apps=("huey.contrib.djhuey",),
        settings=_settings,
        workers=lambda processes: [
            manage("run_huey", f"--workers={processes}", "--worker-type=process")
        ],
        how="*Django*: tasks scheduled by `on_commit`, worker processes, no results kept; `task`, since"
        " `db_task` closes the connection after each run. At most once: what was taken is gone.",
    )
]
