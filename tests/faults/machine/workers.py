"""Rules of workers: hints in any order and number, claims, runs, groups, and what comes of each."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from reliable_effects.outbox.claim import claim, look
from reliable_effects.outbox.deliver import on_hint
from reliable_effects.outbox.run import run
from reliable_effects.outbox.settle import settle
from reliable_effects.outbox.states import State
from reliable_effects.outbox.verdicts import Succeeded

from . import broker
from .expected import End, after_call, after_no_call, was_due
from .rows import Row
from .script import ACTS_IN_VAIN, Call, Mood
from .world import HERE, Held, World, hurried

NUMBER = st.integers(0, 999)
SOME = st.lists(NUMBER, min_size=1, max_size=6)
MOOD = st.sampled_from([Mood.DO, Mood.DO, *Mood])
MOODS = st.lists(MOOD, min_size=3, max_size=6)
PACE = st.sampled_from(["quick", "quick", "slow", "never measured"])
FORGED: list[Any] = [
    None,
    "hint",
    {"v": 2, "db": HERE, "ids": [1]},
    {"v": 1, "db": "elsewhere", "ids": [1]},
    {"v": 1, "db": HERE, "ids": "1"},
    {"v": 1, "db": HERE, "ids": [0, -1]},
    {"v": 1, "db": HERE, "ids": ["1", None, True]},
    {"v": 1, "db": HERE, "ids": [2**63]},
    {"v": 1, "db": HERE, "ids": []},
    {"v": 1, "db": HERE, "ids": [10**15, 10**15 + 1]},
]


class Workers(World):
    # Hints

    @precondition(lambda _: broker.in_flight)
    @rule(number=NUMBER, moods=MOODS, pace=PACE, is_hurried=st.booleans(), again=st.booleans())
    def hint_arrives(
        self, number: int, moods: list[Mood], pace: str, is_hurried: bool, again: bool
    ) -> None:
        """Any of those in flight, in any order; `again`: it will come once more."""
        place = number % len(broker.in_flight)
        hint = broker.in_flight[place] if again else broker.in_flight.pop(place)
        self.did("hint arrives, and will again" if again else "hint arrives")
        self._deliver(hint, moods, pace, is_hurried=is_hurried)

    @precondition(lambda self: self.rows.deliveries)
    @rule(numbers=SOME, moods=MOODS, pace=PACE, is_hurried=st.booleans())
    def late_hint_arrives(
        self, numbers: list[int], moods: list[Mood], pace: str, is_hurried: bool
    ) -> None:
        """For any rows at all, whatever has become of them, one of them named twice."""
        ids = self.pick(self.rows.deliveries, numbers)
        self.did("late hint arrives")
        hint = {"v": 1, "db": HERE, "ids": [*ids, ids[0], 10**15]}
        self._deliver(hint, moods, pace, is_hurried=is_hurried)

    @rule(number=NUMBER, hint=st.sampled_from(FORGED))
    def broker_misbehaves(self, number: int, hint: Any) -> None:
        """It loses one hint, and a forged one comes."""
        if broker.in_flight:
            broker.in_flight.pop(number % len(broker.in_flight))
            self.did("hint lost")
        on_hint(hint)
        self.did("forged hint")
        self.look()
        assert not self.script.told()

    def _deliver(
        self, hint: dict[str, Any], moods: list[Mood], pace: str, *, is_hurried: bool
    ) -> None:
        ids = set(hint["ids"])
        known = self.in_order(self.rows.deliveries.keys() & ids)
        here = [self.rows.deliveries[pk] for pk in known]
        self.settle_pace(pace)
        self.script.moods = dict(zip((row["id"] for row in here), moods, strict=False))
        now = self.now()
        with self.worker(), hurried(is_hurried):
            on_hint(hint)
        self._judge(here, now)

    def _judge(self, here: Collection[Row], now: datetime) -> None:
        """Each delivery of a hint stands where its own run has led, whatever the others did."""
        calls = self._excused_calls()
        ids = {row["id"] for row in here}
        assert calls.keys() <= ids, f"nobody spoke of these: {calls.keys() - ids}"
        before, after, _ = self.look(may_change=ids, born_of=self.script.children)
        for was in here:
            pk = was["id"]
            row, call, due = after.deliveries[pk], calls.get(pk), was_due(was, now)
            if due is False:
                assert call is None, f"it ran, and was not due: {was}"
                assert row == before.deliveries[pk], f"not due, and changed: {was}"
                continue
            if call is not None:
                self.did(f"run: {call.mood.name}{' (verify)' if call.verifying else ''}")
                ends = after_call(was, call, can_verify=self.can_verify(was))
            else:
                ends = after_no_call(was, known=self.is_known(was), needed=self._is_needed(was))
                ends |= self._without_subject(was)
            spent = row["attempts"] - was["attempts"]
            end = End(State(row["state"]), spent, row["reason"])
            assert end in ends, f"{call}\nled from {was}\nto {row}\nnot to {ends}"
            if call is None and end.state != was["state"]:
                self.did(f"no run: {end.reason}")

    def _excused_calls(self) -> dict[int, Call]:
        """The calls of this rule; what acted and then failed may act again."""
        calls = self.script.told()
        for call in calls:
            if call.acted and call.mood in ACTS_IN_VAIN:
                self.model.excuse(call.what)
        by_delivery = {call.delivery: call for call in calls}
        assert len(by_delivery) == len(calls), "one hint ran one delivery twice"
        return by_delivery

    def _is_needed(self, row: Row) -> bool:
        """As the business tables say; True where another subject's would not matter."""
        if row["effect"] not in ("machine.owe", "machine.wrap"):
            return True
        pk = self.rows.events[row["event_id"]]["subject_pk"]
        order = next((order for order in self.orders if str(order.pk) == pk), None)
        if order is None:
            return True
        order.refresh_from_db()
        unpaid = order.charge_id == "" or row["effect"] == "machine.wrap"
        return order.status == "placed" and unpaid

    def _without_subject(self, row: Row) -> set[End]:
        pk = self.rows.events[row["event_id"]]["subject_pk"]
        if any(str(order.pk) == pk for order in self.orders):
            return set()
        return {End(State.POISONED, 0, "SUBJECT_GONE")}

    # One worker, step by step: between two of its steps anything may happen

    @precondition(lambda self: self.rows.waiting())
    @rule(number=NUMBER)
    def claim_one(self, number: int) -> None:
        self.let_claim(self.pick(self.rows.waiting(), [number])[0])

    def let_claim(self, pk: int) -> None:
        was, now = self.rows.deliveries[pk], self.now()
        with self.worker():
            known = [seen for seen in look(HERE, [pk]) if seen.effect is not None]
            taken = claim(known)
        _, after, _ = self.look(may_change=[pk])
        row, due = after.deliveries[pk], was_due(was, now)
        assert due is not False or not taken, f"claimed before it was due: {was}"
        assert taken or not due or not self.is_known(was), f"due, and not claimed: {was}"
        for claimed in taken:
            self.did("claim")
            assert (row["state"], row["claim_token"]) == (State.RUNNING, claimed.token)
            self.held.append(Held(claimed, was, self.what_of(pk)))
        if not taken:
            assert row == was

    @precondition(lambda self: any(not held.has_run for held in self.held))
    @rule(number=NUMBER, mood=MOOD)
    def claimed_one_runs(self, number: int, mood: Mood) -> None:
        ready = [held for held in self.held if not held.has_run]
        self.let_run(ready[number % len(ready)], mood)

    def let_run(self, held: Held, mood: Mood) -> None:
        """Nothing is written yet, but by an atomic effect, and what its run emits."""
        pk, mine = held.claimed.id, self.mine(held)
        self.script.moods = {pk: mood}
        with self.worker():
            held.verdict = run(held.claimed)
        held.call = self._excused_calls().get(pk)
        self.did("claimed one runs" if mine else "zombie runs")
        before, after, _ = self.look(
            may_change=[pk] if mine else [], born_of=self.script.children if mine else ()
        )
        was, row = before.deliveries.get(pk), after.deliveries.get(pk)
        if mine and row is not None and row["state"] != State.RUNNING:
            assert held.claimed.effect.atomic, f"a run wrote its own end: {was} → {row}"
            assert isinstance(held.verdict, Succeeded)

    @precondition(lambda self: any(held.has_run for held in self.held))
    @rule(number=NUMBER)
    def claimed_one_is_settled(self, number: int) -> None:
        ready = [held for held in self.held if held.has_run]
        self.let_settle(ready[number % len(ready)])

    def let_settle(self, held: Held) -> None:
        """Where the row is its own: what its run has led to. Else nothing at all."""
        self.held.remove(held)
        self.ghosts.append(held)
        mine = self.mine(held)
        assert held.verdict is not None
        with self.worker():
            settle(held.claimed, held.verdict)
        pk = held.claimed.id
        _, after, _ = self.look(may_change=[pk] if mine else [])
        self.did("claimed one is settled" if mine else "zombie settles")
        if not mine:
            return
        was, row = held.before, after.deliveries[pk]
        assert row["state"] != State.RUNNING
        if held.call is not None:
            ends = after_call(was, held.call, can_verify=self.can_verify(was))
            end = End(State(row["state"]), row["attempts"] - was["attempts"], row["reason"])
            assert end in ends, f"{held.call}: {was} → {row}"

    @precondition(lambda self: self.held)
    @rule(number=NUMBER)
    def worker_dies(self, number: int) -> None:
        """It never writes again; the ghost of it may, see `Faults.zombie_writes`."""
        self.ghosts.append(self.held.pop(number % len(self.held)))
        self.did("worker dies")
