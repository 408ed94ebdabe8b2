"""One order, ten effects of 100 ms each, four workers: from the commit until the last one begins."""

from __future__ import annotations

import time
from collections import defaultdict

from ..bench import Bench
from ..figures import Row, percentile
from ..site.slow import SLOW
from ..stage import NotRun, Stage

_EFFECTS = 10
_WORKERS = 4
_START = 60.0  # seconds until workers do what they are asked
_LATEST = 15.0  # seconds for one order
_WHO = ("ours", "ours_redis", "ours_rabbit", "celery_redis", "celery_rabbit")


def run(bench: Bench) -> None:
    with bench.stages("fan_out", bench.named(*_WHO)) as stages:
        found: dict[str, list[float]] = defaultdict(list)
        for stage in bench.shuffled(stages):
            with bench.or_not_run("fan_out", stage.contender.name), stage.workers(_WORKERS):
                for number in range(bench.size.fan_outs + 1):
                    waited = _one(stage)
                    if number:  # the first is the workers' start
                        found[stage.contender.name].append(waited)
        for name, values in found.items():
            bench.add(
                Row(
                    work="fan_out",
                    contender=name,
                    measure="ten of 100 ms: the last begins",
                    unit="ms",
                    values=values,
                    p99=percentile(values, 99),
                    n=len(values),
                )
            )


def _one(stage: Stage) -> float:
    before = len(stage.runs())
    order, _, at = stage.ask("once", effects=_EFFECTS, kind="slow")
    wanted = before + _EFFECTS
    if stage.wait_for_runs(wanted, _LATEST if before else _START) < wanted:
        raise NotRun(f"{_EFFECTS} slow effects did not all begin in {_LATEST:.0f} s")
    time.sleep(2 * SLOW)  # the last ones are still acting
    return 1000 * (max(run.at for run in stage.runs() if run.order == order) - at)
