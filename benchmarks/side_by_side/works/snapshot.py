"""
A snapshot is held open while work goes on: what dies meanwhile cannot be vacuumed away.

500 requests a second against two workers, before it and under it; then a backlog for each, whose
rate says what a claim costs by then.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from ..bench import Bench
from ..figures import Row, percentile, rate
from ..stage import Stage

_RATE = 500.0  # requests a second
_WORKERS = 2
_BEFORE = 0.2  # of the time, without a snapshot
_BURST = 2_000  # deliveries at once, at most


def run(bench: Bench) -> None:
    with bench.stages("snapshot", bench.named("ours")) as stages:
        for stage in stages:
            with bench.or_not_run("snapshot", stage.contender.name):
                _measure(bench, stage)


def _measure(bench: Bench, stage: Stage) -> None:
    held, burst = bench.size.held, min(_BURST, bench.size.backlog)
    with stage.workers(_WORKERS):
        stage.ask("once", effects=1, kind="noop")
        stage.wait_for_runs(1, 60)
        _add(bench, stage, "no snapshot", max(1.0, held * _BEFORE), burst)
        with psycopg.connect(stage.database_url) as old:
            old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            old.execute("SELECT count(*) FROM bench_order")
            _add(bench, stage, "under a snapshot", held, burst)


def _add(bench: Bench, stage: Stage, when: str, seconds: float, burst: int) -> None:
    before = len(stage.runs())
    committed = stage.ask("poisson", rate=_RATE, seconds=seconds, effects=1, kind="noop", seed=1)
    stage.wait_for_runs(before + len(committed), 30)
    began = {run.order: run.at for run in stage.runs()[before:]}
    # Of the last quarter: by then it is as old as it gets.
    late = committed[3 * len(committed) // 4 :]
    latencies = [1000 * (began[order] - at) for order, at in late if order in began]
    missing = len(committed) - len(began)
    _row(bench, f"commit to begin at 500/s, {when}", "ms", latencies, missing)
    before = len(stage.runs())
    stage.ask("fill", count=burst, kind="noop")
    stage.wait_for_runs(before + burst, 60)
    times = [run.at for run in stage.runs()[before:]]
    _row(bench, f"rate of a backlog, {when}", "/s", [rate(times, warm_up=0)], burst - len(times))


def _row(bench: Bench, measure: str, unit: str, values: Sequence[float], missing: int) -> None:
    if values:
        bench.add(
            Row(
                work="snapshot",
                contender="ours",
                measure=measure,
                unit=unit,
                values=list(values),
                p99=percentile(values, 99) if unit == "ms" else None,
                n=len(values),
                note=f"{missing} did not run in time" if missing else "",
            )
        )
