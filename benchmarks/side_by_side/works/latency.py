"""From the commit to the moment when the effect begins, at 20 requests a second, two workers."""

from __future__ import annotations

from collections import defaultdict

from ..bench import Bench
from ..figures import Row, percentile
from ..stage import Stage

_RATE = 20.0  # requests a second, at random moments
_WORKERS = 2
_START = 60.0  # seconds until workers do what they are asked
_WARM_UP = 1.0  # seconds of requests that do not count
_LATEST = 15.0  # seconds that are waited for the last one


def run(bench: Bench) -> None:
    taking_part = [one for one in bench.contenders if not one.emits_only]
    with bench.stages("latency", taking_part) as stages:
        found: dict[str, list[float]] = defaultdict(list)
        lost: dict[str, int] = defaultdict(int)
        for number in range(bench.size.rounds):
            for stage in bench.shuffled(stages):
                name = stage.contender.name
                with bench.or_not_run("latency", name):
                    latencies, missing = _round(bench, stage, number)
                    found[name] += latencies
                    lost[name] += missing
        for name, latencies in found.items():
            if latencies:
                bench.add(
                    Row(
                        work="latency",
                        contender=name,
                        measure="commit to begin, 20/s",
                        unit="ms",
                        values=latencies,
                        p99=percentile(latencies, 99),
                        n=len(latencies),
                        note=f"{lost[name]} never ran" if lost[name] else "",
                    )
                )


def _round(bench: Bench, stage: Stage, seed: int) -> tuple[list[float], int]:
    """The latencies of one round in milliseconds, and how many effects did not run."""
    before = len(stage.runs())
    with stage.workers(_WORKERS):
        warm = stage.ask("poisson", rate=_RATE, seconds=_WARM_UP, effects=1, kind="noop", seed=99)
        before = stage.wait_for_runs(before + len(warm), _START)
        committed = stage.ask(
            "poisson", rate=_RATE, seconds=bench.size.latency, effects=1, kind="noop", seed=seed
        )
        stage.wait_for_runs(before + len(committed), _LATEST)
    began: dict[int, float] = {}
    for run in stage.runs():
        began.setdefault(run.order, run.at)
    latencies = [1000 * (began[order] - at) for order, at in committed if order in began]
    return latencies, len(committed) - len(latencies)
