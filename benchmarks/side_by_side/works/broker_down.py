"""The broker is dead, or hangs: what the first request pays, and what all others pay."""

from __future__ import annotations

from ..bench import Bench
from ..figures import Row, percentile
from ..stage import Stage

_WHO = ("ours_redis", "ours_rabbit")


def run(bench: Bench) -> None:
    for how in ("dead", "hung"):
        with bench.stages("broker_down", bench.named(*_WHO), label=how) as stages:
            for stage in stages:
                with bench.or_not_run("broker_down", stage.contender.name):
                    _measure(bench, stage, how)


def _measure(bench: Bench, stage: Stage, how: str) -> None:
    broker = bench.servers.broker(stage.contender.broker)
    if broker is None:
        return
    stage.ask("block", effects=1, kind="noop", seconds=bench.size.block)
    _add(bench, stage, "healthy", _blocks(bench, stage))
    if how == "dead":
        broker.kill()
    else:
        broker.freeze()
    try:
        first = 1000 * stage.ask("once", effects=1, kind="noop")[1]
        after = _blocks(bench, stage)
    finally:
        broker.heal()
    _add(bench, stage, f"{how}, the first", [first])
    _add(bench, stage, f"{how}, all others", after)


def _blocks(bench: Bench, stage: Stage) -> list[float]:
    taken: list[float] = []
    for _ in range(bench.size.pairs):
        block = stage.ask("block", effects=1, kind="noop", seconds=bench.size.block)
        taken += [1000 * one for one in block["taken"]]
    return taken


def _add(bench: Bench, stage: Stage, when: str, taken: list[float]) -> None:
    bench.add(
        Row(
            work="broker_down",
            contender=stage.contender.name,
            measure=f"order + 1 effect, broker {when}",
            unit="ms",
            values=taken,
            p99=percentile(taken, 99),
            n=len(taken),
        )
    )
