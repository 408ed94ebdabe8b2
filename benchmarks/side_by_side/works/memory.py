"""A worker's memory, above a bare Celery and Django worker that has done the same, and its growth."""

from __future__ import annotations

from ..bench import Bench
from ..figures import Row
from ..stage import NotRun, Stage
from ..usage import megabytes

_WORKERS = 2
_WARM_UP = 100  # deliveries: by then all processes are there
_LOOKS = 5  # at their memory, after equal numbers of deliveries
_CHUNK_PATIENCE = 600  # seconds
_WHO = ("celery_redis", "ours_redis", "ours")


def run(bench: Bench) -> None:
    for one in bench.named(*_WHO):
        with bench.stages("memory", [one]) as stages:
            for stage in stages:
                with bench.or_not_run("memory", one.name):
                    _measure(bench, stage)


def _measure(bench: Bench, stage: Stage) -> None:
    """MB of a whole worker with its two processes, after each part of the deliveries."""
    part = max(1, bench.size.deliveries // _LOOKS)
    values: list[float] = []
    with stage.workers(_WORKERS):
        stage.ask("fill", count=_WARM_UP, kind="noop")
        stage.wait_for_runs(_WARM_UP, _CHUNK_PATIENCE)
        for look in range(1, _LOOKS + 1):
            stage.ask("fill", count=part, kind="noop")
            wanted = _WARM_UP + part * look
            if stage.wait_for_runs(wanted, _CHUNK_PATIENCE) < wanted:
                raise NotRun(f"{part} deliveries took longer than {_CHUNK_PATIENCE} s")
            try:
                values.append(megabytes(stage.worker_pids()))
            except OSError as error:
                raise NotRun(f"this machine does not tell of memory: {error}") from error
    bench.add(
        Row(
            work="memory",
            contender=stage.contender.name,
            measure=f"a worker of {_WORKERS} processes",
            unit="MB",
            values=values,
            n=part * _LOOKS,
            extra={"first": values[0], "last": values[-1]},
        )
    )
