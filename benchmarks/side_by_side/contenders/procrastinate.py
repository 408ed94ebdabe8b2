from __future__ import annotations

from .contender import Contender, Kind, manage


def _workers(processes: int) -> list[list[str]]:
    return [manage("procrastinate", "worker", "--concurrency=10")] * processes


_HOW = (
    "The Django extension (*How-to: Django*): `defer` on Django's own connection, workers that LISTEN,"
    " ten jobs at a time in each (*Launch multiple tasks concurrently*)."
)

CONTENDERS = [
    Contender(
        name="procrastinate",
        title="procrastinate",
        kind=Kind.DURABLE,
        application="procrastinate",
        distributions=("procrastinate",),
        apps=("procrastinate.contrib.django",),
        workers=_workers,
        how=_HOW,
    ),
    Contender(
        name="procrastinate_batch",
        title="procrastinate, batch_defer",
        kind=Kind.DURABLE,
        application="procrastinate_batch",
        distributions=("procrastinate",),
        apps=("procrastinate.contrib.django",),
        workers=_workers,
        emits_only="its workers are procrastinate's, above",
        how=_HOW + " The effects of one order are given to one `batch_defer`.",
    ),
]
