"""
Our statements with ten thousand rows, and with millions: claims and sweeps must cost the same.

Two databases are filled, and asked in turn.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from ..bench import Bench
from ..figures import Row, percentile

_SMALL = {"finished": 5_000, "future": 1_000, "due": 4_000}  # ten thousand in all
_TIMES = 5  # in a row


def run(bench: Bench) -> None:
    size, ours = bench.size, bench.named("ours")
    large = {"finished": size.finished, "future": size.future, "due": size.due}
    with (
        bench.stages("growth", ours, label="small") as small_stages,
        bench.stages("growth", ours, label="large") as large_stages,
    ):
        if not small_stages or not large_stages:
            return
        stages = {"small": small_stages[0], "large": large_stages[0]}
        for name, counts in (("small", _SMALL), ("large", large)):
            stages[name].ask("call", function="fill_rows", **counts)
            stages[name].ask("call", function="costs", times=3)  # warm
        pairs: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        every: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for _ in range(size.pairs):
            for stage in bench.shuffled(stages.values()):
                name = "small" if stage is stages["small"] else "large"
                for what, taken in stage.ask("call", function="costs", times=_TIMES).items():
                    pairs[what][name].append(median(taken))
                    every[what][name] += taken
        for what, by_size in pairs.items():
            for name, values in by_size.items():
                rows = sum(_SMALL.values()) if name == "small" else sum(large.values())
                bench.add(
                    Row(
                        work="growth",
                        contender="ours",
                        measure=f"{what}, {name}",
                        unit="ms",
                        values=values,
                        p99=percentile(every[what][name], 99),
                        n=len(every[what][name]),
                        extra={"rows": rows},
                    )
                )
