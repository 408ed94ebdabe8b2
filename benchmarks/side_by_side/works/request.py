"""
What a request pays: an order and its effects in one transaction, against the order alone.

Each contender's process alternates short blocks of both, and the contenders take turns, so a slow
moment of the machine meets them all. The floor measured against itself shows what is noise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from ..bench import Bench
from ..contenders import Kind
from ..figures import Row, percentile, slope
from ..stage import Stage

_SIZES = (1, 10)
_LARGE = 100  # effects; only of ours and the limit
FLOOR = "floor"


def run(bench: Bench) -> None:
    with bench.stages("request", bench.contenders) as stages:
        for stage in stages:  # connections, caches, and what is imported at the first use
            stage.ask("block", effects=0, kind="noop", seconds=bench.size.block)
            stage.ask("block", effects=1, kind="noop", seconds=bench.size.block)
        if not stages:
            return
        added: dict[int, dict[str, list[float]]] = {}
        for effects in (*_SIZES, _LARGE):
            taking_part = [
                stage
                for stage in stages
                if effects != _LARGE or stage.contender.kind in (Kind.OURS, Kind.LIMIT)
            ]
            added[effects] = blocks(bench, "request", taking_part, effects)
        _growth(bench, added)


def blocks(
    bench: Bench, work: str, stages: Sequence[Stage], effects: int
) -> dict[str, list[float]]:
    """Alternate the floor and *effects*, in pairs; the added p50 of each pair, by contender."""
    added: dict[str, list[float]] = defaultdict(list)
    floors: dict[str, list[float]] = defaultdict(list)
    samples: dict[str, list[float]] = defaultdict(list)
    cpu: dict[str, list[float]] = defaultdict(list)
    seconds = bench.size.block
    for _ in range(bench.size.pairs):
        for stage in bench.shuffled(stages):
            name = stage.contender.name
            with bench.or_not_run(work, name):
                floor = stage.ask("block", effects=0, kind="noop", seconds=seconds)
                owing = stage.ask("block", effects=effects, kind="noop", seconds=seconds)
                floors[name].append(1000 * median(floor["taken"]))
                added[name].append(1000 * (median(owing["taken"]) - median(floor["taken"])))
                cpu[name].append(1e6 * (owing["cpu"] - floor["cpu"]))
                samples[name] += owing["taken"]
        _against_itself(stages[0], seconds, floors[FLOOR], added[FLOOR])
    plural = "" if effects == 1 else "s"
    for name, values in added.items():
        if name == FLOOR:
            continue
        bench.add(
            Row(
                work=work,
                contender=name,
                measure=f"order + {effects} effect{plural}",
                unit="ms added",
                values=values,
                p99=1000 * percentile(samples[name], 99),
                n=len(samples[name]),
                extra={"floor": median(floors[name]), "cpu_us": median(cpu[name])},
            )
        )
    bench.add(
        Row(
            work=work,
            contender=FLOOR,
            measure=f"floor / floor ({effects})",
            unit="ratio",
            values=[(f + a) / f for f, a in zip(floors[FLOOR], added[FLOOR], strict=True)],
            n=len(added[FLOOR]),
        )
    )
    return added


def _against_itself(stage: Stage, seconds: float, floors: list[float], added: list[float]) -> None:
    one, other = (
        median(stage.ask("block", effects=0, kind="noop", seconds=seconds)["taken"])
        for _ in range(2)
    )
    floors.append(1000 * one)
    added.append(1000 * (other - one))


def _growth(bench: Bench, added: dict[int, dict[str, list[float]]]) -> None:
    for name in added[_LARGE]:
        if name == FLOOR:
            continue
        pairs = zip(*(added[effects].get(name, []) for effects in added), strict=False)
        values = [1000 * slope(list(zip(added, pair, strict=True))) for pair in pairs]
        if values:
            bench.add(
                Row(
                    work="request",
                    contender=name,
                    measure="each further effect, 1 to 100",
                    unit="µs",
                    values=values,
                    n=len(values),
                )
            )
