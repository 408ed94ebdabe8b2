"""One run: its servers, its size, who takes part, and what it has found."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.services.server import Missing

from .contenders import Contender
from .figures import Row
from .servers import Servers
from .stage import NotRun, Stage


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of everything. Seconds and rows."""

    name: str
    pairs: int  # of blocks, floor and contender
    block: float  # seconds of each
    backlog: int  # deliveries due, before a drain
    window: float  # seconds of one drain that are looked at, at most
    rounds: int  # of drains, and of latency
    latency: float  # seconds of requests, in each round
    fan_outs: int  # orders with ten slow effects
    finished: int  # rows that ended, in the large database
    future: int
    due: int
    held: float  # seconds that a snapshot is held open
    flat: float  # seconds of emitting, running and pruning, for the size of the tables
    deliveries: int  # until memory is looked at for the last time


SIZES = {
    size.name: size
    for size in (
        Size(
            name="tiny", pairs=2, block=0.03, backlog=100, window=60, rounds=1, latency=1,
            fan_outs=1, finished=2_000, future=1_000, due=1_500, held=2, flat=3, deliveries=300,
        ),
        Size(
            name="quick", pairs=5, block=0.2, backlog=4_000, window=2, rounds=1, latency=3,
            fan_outs=2, finished=20_000, future=10_000, due=5_000, held=5, flat=5,
            deliveries=2_000,
        ),
        Size(
            name="short", pairs=8, block=0.3, backlog=15_000, window=6, rounds=2, latency=8,
            fan_outs=5, finished=100_000, future=20_000, due=10_000, held=30, flat=30,
            deliveries=10_000,
        ),
        Size(
            name="usual", pairs=12, block=0.35, backlog=100_000, window=12, rounds=3, latency=15,
            fan_outs=10, finished=500_000, future=100_000, due=20_000, held=120, flat=300,
            deliveries=50_000,
        ),
        Size(
            name="full", pairs=30, block=0.35, backlog=100_000, window=30, rounds=5, latency=60,
            fan_outs=30, finished=5_000_000, future=1_000_000, due=100_000, held=600, flat=3600,
            deliveries=1_000_000,
        ),
    )
}  # fmt: skip


@dataclass
class Bench:
    servers: Servers
    folder: Path
    size: Size
    contenders: list[Contender]
    rows: list[Row] = field(default_factory=list)
    not_run: dict[str, str] = field(default_factory=dict)  # "work: contender", and why
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    def add(self, row: Row) -> None:
        self.rows.append(row)
        p99 = f", p99 {row.p99:.2f}" if row.p99 is not None else ""
        note = f"  ({row.note})" if row.note else ""
        self.tell(
            f"  {row.contender:24} {row.measure:32} {row.median:10.2f} {row.unit}{p99},"
            f" {min(row.values):.2f}-{max(row.values):.2f}, n={row.n}{note}"
        )

    def tell(self, line: str) -> None:
        print(line, flush=True)  # noqa: T201  # a command talks to its caller

    def shuffled(self, stages: Iterable[Stage]) -> list[Stage]:
        """In another order each time, so that nobody always follows the same."""
        each = list(stages)
        self.chance.shuffle(each)
        return each

    @contextlib.contextmanager
    def stages(
        self,
        work: str,
        contenders: Iterable[Contender],
        database: str = "postgres",
        label: str = "",
    ) -> Iterator[list[Stage]]:
        """Those of them that can be set up; of the others it is kept why not."""
        with ExitStack() as stack:
            found = []
            for one in contenders:
                with self.or_not_run(work, one.name):
                    if why := one.why_not():
                        raise NotRun(why)
                    stage = Stage(one, self.servers, self.folder, database, label)
                    found.append(stack.enter_context(stage))
            yield found
            self.servers.wipe_brokers()

    @contextlib.contextmanager
    def or_not_run(self, work: str, name: str) -> Iterator[None]:
        try:
            yield
        except (NotRun, Missing, ImportError) as error:
            self.not_run[f"{work}: {name}"] = str(error)
            self.tell(f"  {name:24} not run: {error}")

    def named(self, *names: str) -> list[Contender]:
        return [one for one in self.contenders if one.name in names]
