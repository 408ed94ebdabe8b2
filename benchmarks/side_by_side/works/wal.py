"""What a delivery leaves: WAL from its emit until it is pruned, and whether the tables stay small."""

from __future__ import annotations

import time

from ..bench import Bench
from ..figures import Row
from ..stage import Stage

_PAYLOAD = 200  # bytes
_WORKERS = 2
_ROUND = 2_000  # deliveries, at most


def run(bench: Bench) -> None:
    with bench.stages("wal", bench.named("ours")) as stages:
        for stage in stages:
            with bench.or_not_run("wal", stage.contender.name):
                _measure(bench, stage)


def _measure(bench: Bench, stage: Stage) -> None:
    count = min(_ROUND, bench.size.backlog)
    per_delivery: list[float] = []
    sizes: list[float] = []
    until = time.monotonic() + bench.size.flat
    with stage.workers(_WORKERS):
        while time.monotonic() < until or len(sizes) < 2:  # noqa: PLR2004  # two make a trend
            # The orders are the shop's own, so they are written before it counts.
            stage.ask("call", function="make_orders", count=count)
            began = stage.ask("call", function="wal_position")
            seen = len(stage.runs())
            stage.ask("call", function="emit_for_orders", count=count, payload=_PAYLOAD)
            stage.wait_for_runs(seen + count, 60)
            left = _pruned(stage)
            per_delivery.append((stage.ask("call", function="wal_position") - began) / count)
            sizes.append(stage.ask("call", function="table_bytes") / 1024 / 1024)
            if left:
                break
    note = f"{left} rows were left" if left else ""
    bench.add(
        Row(
            work="wal",
            contender="ours",
            measure="WAL, from emit to prune",
            unit="B per delivery",
            values=per_delivery,
            n=count * len(per_delivery),
            note=note,
        )
    )
    half = sizes[len(sizes) // 2 :]
    bench.add(
        Row(
            work="wal",
            contender="ours",
            measure="tables, second half of the time",
            unit="MB",
            values=half,
            n=len(half),
            extra={"first": sizes[0], "last": sizes[-1]},
        )
    )


def _pruned(stage: Stage) -> int:
    """Prune until nothing is left; what began has yet to be written as done."""
    left = -1
    until = time.monotonic() + 10
    while left and time.monotonic() < until:
        left = stage.ask("call", function="prune_everything")
    return left
