"""The machine: all rules together, and the end of each example, when the faults have stopped."""

from __future__ import annotations

from datetime import timedelta

from hypothesis.stateful import initialize

from reliable_effects.outbox.states import State

from . import broker
from .faults import Faults
from .groups import LOST, RUNS, THEN
from .script import Mood
from .web import Web
from .workers import MOODS, SOME
from .world import World

ROUNDS = 60  # of the clock at the end of an example; the longest way is far shorter
A_WHILE = timedelta(seconds=20)  # a queue that nobody consumes gets one hint a minute
VISIBLY_OVER = {State.SKIPPED, State.CANCELLED, State.POISONED, State.UNCERTAIN}


class Machine(Web, Faults):
    @initialize(numbers=SOME, moods=MOODS, runs=RUNS, then=THEN, lost=LOST)
    def begin(self, numbers: list[int], moods: list[Mood], runs: int, then: str, lost: str) -> None:
        """Each example with a group: one that dies must be seen in few examples, too."""
        self.open_the_shop()
        self.harmless_group(numbers, moods, runs, then, lost)

    def teardown(self) -> None:
        try:
            if not self.has_failed:
                self._converge()
                self._count()
        finally:
            super().teardown()

    def _converge(self) -> None:
        """No more faults: with sweeps, hints and time everything comes to rest."""
        self.held.clear()  # they all died
        self.is_old_release = False
        broker.in_flight.clear()  # lost, all of them
        for _ in range(ROUNDS):
            self.rescue()
            self.relay()
            while broker.in_flight:
                self._deliver(broker.in_flight.pop(0), [], "quick", is_hurried=False)
            moments = [
                moment
                for pk, row in self.rows.deliveries.items()
                if row["state"] == State.RUNNING or pk in self.rows.waiting()
                for moment in (row["look_at"], row["lease_expires_at"], row["due_at"])
                if moment is not None
            ]
            if not moments:
                return
            self.jump(max(max(moments) - self.now(), A_WHILE))
        left = [self.rows.deliveries[pk] for pk in self.rows.waiting()]
        raise AssertionError(f"it never came to rest: {left}")

    def _count(self) -> None:
        """From outside: everything committed was done, or is set aside where a person sees it."""
        rows = self.rows.deliveries
        committed = {debt.what for debt in self.model.debts.values()}
        aside = {self.what_of(pk) for pk, row in rows.items() if row["state"] in VISIBLY_OVER}
        verdict = self.script.outside.judge(
            committed, set_aside=aside, in_doubt=self.model.forgotten
        )
        assert (verdict.lost, verdict.phantom, verdict.other_keys) == (0, 0, 0), verdict
        assert verdict.extra_runs <= self.model.excused, verdict
        World.examples += 1
        World.lost += verdict.lost
        World.phantom += verdict.phantom
        World.extra_runs += verdict.extra_runs
