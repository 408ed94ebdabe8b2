"""
A backlog of due effects, two worker processes: how many a second are carried out.

Each contender has its backlog beforehand, and they work on it in turns of some seconds; start-up is
left out. The rate comes from the times at which effects began, so nothing is asked meanwhile. At the
end every effect must have run once, and what the contender calls unfinished must fit to that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..bench import Bench
from ..contenders import Kind
from ..figures import Row, rate
from ..site import ledger
from ..stage import NotRun, Stage
from ..usage import cpu_seconds

WORKERS = 2
_START = 60.0  # seconds until the first effect, at most
_LEFT = 0.5  # of a backlog: with less, it is filled up again before the next turn


@dataclass
class _Lane:
    stage: Stage
    kind: str
    filled: int = 0
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # microseconds for an effect
    filling: float = 0.0  # seconds


def run(bench: Bench) -> None:
    alone = [one for one in bench.contenders if not one.emits_only]
    for one in bench.contenders:
        if one.emits_only:
            bench.not_run[f"drain: {one.name}"] = one.emits_only
    ours = [one for one in alone if one.kind in (Kind.OURS, Kind.LIMIT)]
    with (
        bench.stages("drain", alone) as each,
        bench.stages("drain", ours, label="harmless") as harmless,
    ):
        lanes = {stage.name: _Lane(stage, "noop") for stage in each}
        lanes |= {stage.name: _Lane(stage, "harmless") for stage in harmless}
        for _ in range(bench.size.rounds):
            for stage in bench.shuffled(lane.stage for lane in lanes.values()):
                lane = lanes[stage.name]
                with bench.or_not_run("drain", stage.contender.name):
                    _turn(bench, lane)
        for lane in lanes.values():
            if lane.rates:
                _add(bench, lane)


def _turn(bench: Bench, lane: _Lane) -> None:
    stage, size = lane.stage, bench.size
    before = ledger.count(stage.ledger)
    wanted = size.backlog - (lane.filled - before)
    if wanted > size.backlog * (1 - _LEFT):
        lane.filling += stage.ask("fill", count=wanted, kind=lane.kind)
        lane.filled += wanted
    with stage.workers(WORKERS):
        stage.wait_for_runs(before + 1, _START)
        began, cpu = ledger.count(stage.ledger), cpu_seconds(stage.worker_pids())
        ended = stage.wait_for_runs(lane.filled, size.window)
        if cpu is not None and ended > began:
            spent = (cpu_seconds(stage.worker_pids()) or cpu) - cpu
            lane.cpu.append(1e6 * spent / (ended - began))
    times = [run.at for run in stage.runs()[before:]]
    if len(times) < 2:  # noqa: PLR2004  # a rate needs a span
        raise NotRun(f"nothing ran within {_START:.0f} s: {stage.last_line('worker-0')}")
    lane.rates.append(rate(times))


def _add(bench: Bench, lane: _Lane) -> None:
    stage = lane.stage
    runs = stage.runs()
    kind = "no-op effects" if lane.kind == "noop" else "harmless no-op effects"
    bench.add(
        Row(
            work="drain",
            contender=stage.contender.name,
            measure=kind,
            unit="/s",
            values=lane.rates,
            n=len(runs),
            note=_what_is_wrong(lane, runs),
            extra={"fill_us": round(1e6 * lane.filling / max(1, lane.filled))},
        )
    )
    if lane.cpu:
        bench.add(
            Row(
                work="drain",
                contender=stage.contender.name,
                measure=f"CPU of all workers, {kind}",
                unit="µs each",
                values=lane.cpu,
                n=len(runs),
            )
        )


def _what_is_wrong(lane: _Lane, runs: list[ledger.Run]) -> str:
    """Compare what ran with what was owed, and with what the contender believes."""
    wrong = []
    if again := ledger.repeated(runs):
        wrong.append(f"{again} ran more than once")
    unfinished = lane.stage.ask("unfinished")
    ran = len({(run.order, run.number) for run in runs})
    is_relay = lane.stage.contender.kind is Kind.RELAY  # it knows only what is unsent
    if unfinished >= 0 and not is_relay and unfinished != lane.filled - ran:
        wrong.append(f"{lane.filled - ran} did not run, and it says {unfinished}")
    if ran > lane.filled:
        wrong.append(f"{ran} ran of {lane.filled}")
    return "; ".join(wrong)
