"""What all rules share: the rows as they stand, the clock, the workers, and one look after each step."""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from unittest.mock import patch
from uuid import UUID

from hypothesis import event
from hypothesis.stateful import RuleBasedStateMachine

from reliable_effects.clock import moved, read_clock
from reliable_effects.effects.registry import registry
from reliable_effects.outbox import deliver as deliver_module
from reliable_effects.outbox import dispatch, emit, heartbeat, low_water
from reliable_effects.outbox.claimed import Claimed
from reliable_effects.outbox.pace import QUICK, pace
from reliable_effects.outbox.states import State
from reliable_effects.outbox.verdicts import Verdict
from tests.faults.outside import Outside
from tests.forgetting import forget_rows
from tests.shop.models import Order

from . import broker, moves, rows
from .effects import Effects
from .model import Model
from .moves import Move
from .rows import Row, Rows
from .script import Call, Script, script

HERE = "default"
ORDERS = 3
OF_A_LATER_RELEASE = ("machine.plain", "machine.ask")  # names that the release before has not


@dataclass(eq=False)
class Held:
    """A worker and its claim. It may come back at any time, whatever has become of its row."""

    claimed: Claimed
    before: Row  # the row as it was before the claim
    what: str
    verdict: Verdict | None = None
    call: Call | None = None

    @property
    def has_run(self) -> bool:
        return self.verdict is not None


class World(RuleBasedStateMachine):
    """One example: an empty shop, and from then on whatever the rules do."""

    effects: Effects  # set by the test, declared once
    acted: Counter[str] = Counter()  # how often each rule did something, over all examples
    examples = lost = phantom = extra_runs = 0  # over all examples

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="machine-")))
        rows.clear()
        moves.taken()
        script.outside, script.moods, script.calls, script.children = (
            Outside(folder / "outside"), {}, [], set(),
        )  # fmt: skip
        self.script: Script = script
        self.model = Model(script)
        broker.in_flight.clear()
        self.held: list[Held] = []
        self.ghosts: list[Held] = []  # workers that have written, or died, and may come back
        self.is_old_release = False
        self.backup: object = None
        self._error_before = sys.exc_info()[1]
        self._numbers = itertools.count(1)
        # What is random in an id decides which row comes first, and Hypothesis has to see the same
        # again when it repeats an example.
        event_ids = itertools.count(1)
        self._stack.enter_context(
            patch.object(emit, "new_event_id", lambda: UUID(int=next(event_ids)))
        )
        self.orders = [self.new_order() for _ in range(ORDERS)]
        self.rows = Rows.read()
        _this_process_remembers_nothing()
        self.settle_pace("quick")

    def new_order(self) -> Order:
        """Numbers are never given twice in an example, not even after a restore."""
        return Order.objects.create(pk=next(self._numbers))

    # What rules say

    def did(self, name: str) -> None:
        """Not vacuous: the rule had something to act on."""
        World.acted[name] += 1
        event(name)

    def look(
        self, *, may_change: Collection[int] = (), born_of: Collection[UUID] = ()
    ) -> tuple[Rows, Rows, list[Move]]:
        """Compare with what stood before the rule: the rows before, after, and the moves."""
        dispatch.flush()  # what the rule has sent is in flight now
        before, after = self.rows, Rows.read()
        seen = self.model.compare(before, after, may_change=may_change, born_of=born_of)
        self.rows = after
        return before, after, seen

    def pick(self, ids: Collection[int], numbers: Collection[int]) -> list[int]:
        """Some of *ids*: numbers are drawn before anybody knows how many there are."""
        known = self.in_order(ids)
        return list(dict.fromkeys(known[n % len(known)] for n in numbers)) if known else []

    def in_order(self, ids: Collection[int]) -> list[int]:
        """The same order whenever Hypothesis repeats an example, however the rows are numbered."""
        return sorted(ids, key=lambda pk: (self.model.debts[pk].place, pk))

    def forget_moves(self) -> None:
        """What an accident does to rows is no move of ours."""
        moves.taken()

    def all_in(self, states: Collection[State]) -> list[int]:
        return [pk for pk, row in self.rows.deliveries.items() if row["state"] in states]

    def any_in(self, states: Collection[State]) -> bool:
        return bool(self.all_in(states))

    def zombies(self) -> list[Held]:
        """Workers whose claim is theirs no more."""
        return [held for held in (*self.ghosts, *self.held) if not self.mine(held)]

    def what_of(self, pk: int) -> str:
        return self.model.debts[pk].what

    def can_verify(self, row: Row) -> bool:
        return row["effect"] == "machine.ask"

    def is_known(self, row: Row) -> bool:
        if not self.is_old_release:
            return True
        version = self.rows.events[row["event_id"]]["version"]
        return row["effect"] not in OF_A_LATER_RELEASE and version == 1

    # Time

    def now(self) -> datetime:
        return read_clock(HERE)

    def jump(self, span: timedelta) -> None:
        self._stack.enter_context(moved(span))
        # By the process's own clock that time is over, too.
        heartbeat.forget_claims()
        dispatch._read_at.clear()
        if span > timedelta(seconds=30):
            low_water.forget()

    # Workers

    @contextmanager
    def worker(self) -> Iterator[None]:
        """What runs here knows what its release knows."""
        codec = self.effects.placed.codec
        with registry.scratch():
            if self.is_old_release:
                registry._effects = {
                    name: effect
                    for name, effect in registry._effects.items()
                    if name not in OF_A_LATER_RELEASE
                }
                codec.version = 1
            try:
                yield
            finally:
                codec.version = 2

    def settle_pace(self, pace_of_all: str) -> None:
        """As if this worker had measured every effect, or none."""
        pace.forget()
        means = {"quick": QUICK / 100, "slow": QUICK * 100}
        if pace_of_all in means:
            pace._means.update(dict.fromkeys(self.effects.by_name(), means[pace_of_all]))

    def mine(self, held: Held) -> bool:
        row = self.rows.deliveries.get(held.claimed.id)
        return row is not None and row["claim_token"] == held.claimed.token

    @property
    def has_failed(self) -> bool:
        """Whether a rule has raised, or Hypothesis has broken the example off."""
        return sys.exc_info()[1] is not self._error_before

    def teardown(self) -> None:
        self._stack.close()


@contextmanager
def hurried(is_hurried: bool) -> Iterator[None]:
    """
    The bound of one hint's work is over after the first delivery, or never.

    A constant is changed, because how long runs take here must not decide what an example does:
    Hypothesis has to see the same again when it repeats one.
    """
    before = deliver_module.BATCH_BOUND
    deliver_module.BATCH_BOUND = -1.0 if is_hurried else 60.0
    try:
        yield
    finally:
        deliver_module.BATCH_BOUND = before


def _this_process_remembers_nothing() -> None:
    # Not the transport: a publisher is a thread, and there would be one for each example.
    forget_rows()
    dispatch._unconsumed.clear()
    dispatch._read_at.clear()
