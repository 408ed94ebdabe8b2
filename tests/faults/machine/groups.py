"""Rules of harmless groups, on a database that may lose what was committed asynchronously."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from reliable_effects.outbox.claim import claim, look
from reliable_effects.outbox.claimed import Claimed
from reliable_effects.outbox.finish import release_together
from reliable_effects.outbox.run import run
from reliable_effects.outbox.settle import settle
from reliable_effects.outbox.states import State
from reliable_effects.outbox.succeed import succeed_together
from reliable_effects.outbox.verdicts import Succeeded

from . import rows
from .expected import End, after_call, is_alone
from .rows import Row
from .script import RETURNS, Mood
from .workers import MOODS, SOME, Workers
from .world import HERE, Held

RUNS = st.integers(0, 6)
THEN = st.sampled_from(["complete", "release the rest", "die"])
LOST = st.sampled_from(["nothing", "nothing", "claim, early", "claim", "completion"])


class Groups(Workers):
    @precondition(lambda self: any(self._may_be_grouped(pk) for pk in self.rows.waiting()))
    @rule(
        numbers=SOME,
        moods=MOODS,
        runs=RUNS,
        then=THEN,
        lost=LOST,
    )
    def harmless_group(
        self, numbers: list[int], moods: list[Mood], runs: int, then: str, lost: str
    ) -> None:
        """
        What was committed asynchronously is lost only with all that was committed after it: so
        here only where every member succeeds, and no write of theirs is synchronous.
        """
        ids = self.pick([pk for pk in self.rows.waiting() if self._may_be_grouped(pk)], numbers)
        before = self.rows.deliveries
        if lost != "nothing":
            moods = []
        self.script.moods = dict(zip(ids, moods, strict=False))
        with self.worker():
            taken = claim(look(HERE, ids), group=True)
        self.look(may_change=ids)
        if not taken:
            return
        self.did(f"group {then}, {lost} lost" if lost != "nothing" else f"group: {then}")
        members = [Held(c, before[c.id], self.what_of(c.id)) for c in taken]
        ids = [c.id for c in taken]
        if lost == "claim, early":
            self._database_forgets([before[pk] for pk in ids], members)
        done = self._members_run(members[:runs])
        claims = self.rows.deliveries
        if then == "release the rest":
            release_together(taken[runs:])
        if then != "die":
            succeed_together(done)
        self.ghosts += members
        self._judge_group(members, then)
        if lost == "completion":
            self._database_forgets([claims[pk] for pk in ids], members)
        elif lost == "claim":
            self._database_forgets([before[pk] for pk in ids], members)

    def _may_be_grouped(self, pk: int) -> bool:
        row = self.rows.deliveries[pk]
        return row["effect"].startswith("machine.harmless") and not is_alone(row)

    def _members_run(self, members: list[Held]) -> list[Claimed]:
        """Those that succeeded; the others are settled at once."""
        done = []
        for held in members:
            held.verdict = run(held.claimed)
            held.call = self._excused_calls().get(held.claimed.id)
            if isinstance(held.verdict, Succeeded):
                done.append(held.claimed)
            else:
                settle(held.claimed, held.verdict)
        return done

    def _judge_group(self, members: list[Held], then: str) -> None:
        held_before = {held.claimed.id: self.mine(held) for held in members}
        _, after, _ = self.look(may_change=[pk for pk, mine in held_before.items() if mine])
        for held in members:
            pk = held.claimed.id
            if not held_before[pk]:
                continue
            row, was = after.deliveries[pk], held.before
            end = End(State(row["state"]), row["attempts"] - was["attempts"], row["reason"])
            if held.verdict is None and then == "release the rest":
                assert end == End(State.PENDING, 0), f"released: {was} → {row}"
            elif held.verdict is None or (
                then == "die" and held.call is not None and held.call.mood in RETURNS
            ):
                assert end == End(State.RUNNING, 1), f"nobody ended it: {was} → {row}"
            elif held.call is not None:
                assert end in after_call(was, held.call, can_verify=False), f"{was} → {row}"

    def _database_forgets(self, as_it_was: list[Row], members: list[Held]) -> None:
        """It crashed, and these rows are what they were before the commits that it has lost."""
        rows.put_back(as_it_was)
        for held in members:  # it has run, or the worker, who knows of no crash, will run it
            self.model.excuse(held.what)
        self.rows = rows.Rows.read()
        self.forget_moves()
