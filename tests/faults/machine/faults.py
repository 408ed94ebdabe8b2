"""Rules of accidents and of the clock: zombies, sweeps, jumps, other releases, backups."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from reliable_effects.outbox import finish, one_trip, prune, succeed, sweeps, unknown
from reliable_effects.outbox.claim import look
from reliable_effects.outbox.claimed import Claimed
from reliable_effects.outbox.models import Attempt
from reliable_effects.outbox.states import Flag, Reason, State
from tests.shop.models import Order

from . import broker, rows
from .effects import BadLuck, owing
from .expected import NEARLY
from .groups import Groups
from .moves import Move
from .rows import Row
from .script import Mood
from .workers import MOOD, MOODS, SOME
from .world import HERE, Held

NUMBER = st.integers(0, 999)
SECOND, MINUTE, HOUR, DAY = (
    timedelta(seconds=1),
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
)
RETENTION = 7 * DAY  # the setting's default
ERROR = BadLuck("late")

# All that a worker may still try to write when its claim is somebody else's.
LATE_WRITES: dict[str, Callable[[Claimed], Any]] = {
    "succeed": succeed.succeed,
    "complete": succeed.complete,
    "succeed together": lambda c: succeed.succeed_together([c]),
    "skip": lambda c: finish.skip(c, Reason.EFFECT_SKIPPED, ERROR),
    "skip a debt": lambda c: finish.skip_debt(c, lambda: False),
    "put a debt back": lambda c: finish.skip_debt(c, lambda: True),
    "fail": lambda c: finish.retry(c, ERROR, Attempt.Outcome.FAILED, SECOND),
    "poison": lambda c: finish.poison(c, Reason.REFUSED, Attempt.Outcome.REFUSED, ERROR),
    "snooze": lambda c: finish.snooze(c, HOUR),
    "doubt": lambda c: finish.doubt(c, ERROR, SECOND),
    "reopen": finish.reopen,
    "release": finish.release,
    "release together": lambda c: finish.release_together([c]),
    "note": lambda c: finish.note(c, kills=7),
    "heartbeat": lambda c: finish.beat(c, DAY),
    "put back": unknown.put_back,
}


class Faults(Groups):
    # Zombies

    @precondition(lambda self: self.zombies())
    @rule(number=NUMBER, way=st.sampled_from(sorted(LATE_WRITES)))
    def zombie_writes(self, number: int, way: str) -> None:
        """Its lease was lost, or its write was done: nothing changes, not even a heartbeat."""
        zombies = self.zombies()
        self._late_write(zombies[number % len(zombies)], way)

    @precondition(lambda self: self.rows.waiting())
    @rule(
        number=NUMBER,
        mood=MOOD,
        kind=st.sampled_from(["", "parent", "tally", "ask", "owe"]),
        has_run=st.sampled_from([False, False, True]),
        meanwhile=st.sampled_from([None, *Mood]),
        way=st.sampled_from(["settle", *sorted(LATE_WRITES)]),
    )
    def worker_is_too_slow(
        self,
        *,
        number: int,
        mood: Mood,
        kind: str,
        has_run: bool,
        meanwhile: Mood | None,
        way: str,
    ) -> None:
        """It claims, and stops; its lease ends, another has its turn, perhaps; then it goes on."""
        waiting, known = self.rows.waiting(), self.rows.deliveries
        of_kind = [pk for pk in waiting if known[pk]["effect"] == f"machine.{kind}"]
        held_before = len(self.held)
        self.let_claim(self.pick(of_kind or waiting, [number])[0])
        if len(self.held) == held_before:
            return
        slow = self.held[-1]
        if has_run:
            self.let_run(slow, mood)
        if self.mine(slow):  # an atomic effect may be done by now
            self.all_leases_end()
        if meanwhile is not None:
            hint = {"v": 1, "db": HERE, "ids": [slow.claimed.id]}
            self._deliver(hint, [meanwhile], "quick", is_hurried=False)
        if not has_run:
            self.let_run(slow, mood)
        if way == "settle":
            self.let_settle(slow)
        else:
            self._late_write(slow, way)

    def _late_write(self, zombie: Held, way: str) -> None:
        claimed = zombie.claimed
        LATE_WRITES[way](claimed)
        self.did(f"zombie: {way}")
        _, _, seen = self.look()
        assert not [move for move in seen if move.was and move.was != move.now], seen

    @precondition(lambda self: self.zombies() and self.rows.waiting())
    @rule(number=NUMBER, next_number=NUMBER)
    def zombie_completes_and_claims(self, number: int, next_number: int) -> None:
        """Two halves in one statement: its completion is void, and its claim stands."""
        zombies = self.zombies()
        claimed = zombies[number % len(zombies)].claimed
        (pk,) = self.pick(self.rows.waiting(), [next_number])
        was = self.rows.deliveries[pk]
        following = look(HERE, [pk])
        if not following:
            return
        won, taken = one_trip.succeed_and_claim(claimed, following[0])
        self.did("zombie completes and claims")
        _, after, _ = self.look(may_change=[pk])
        assert not won
        assert taken is not None
        assert after.deliveries[pk]["claim_token"] == taken.token
        self.held.append(Held(taken, was, self.what_of(pk)))

    # Sweeps and the clock

    @precondition(lambda self: self.any_in((State.RUNNING, State.POISONED)))
    @rule()
    def rescue(self) -> None:
        """What is over its lease leaves RUNNING; no other running row is touched."""
        now = self.now()
        running = [r for r in self.rows.deliveries.values() if r["state"] == State.RUNNING]
        over = {r["id"] for r in running if r["lease_expires_at"] <= now + NEARLY}
        unknown_ones = {pk for pk, row in self.rows.deliveries.items() if _may_come_back(row)}
        with self.worker():
            assert sweeps.sweep(HERE, sweeps.RESCUE, now=True) is not None
        # Before the look: a rescued row may act again from now on.
        before, after, seen = self.look(may_change=over | unknown_ones)
        for move in seen:
            if move.was["state"] == State.RUNNING:
                self.did("rescue")
                assert _rescued_well(move), f"not as its flags say: {move}"
                self.model.excuse(self.what_of(move.delivery))
        for pk in over:
            row = after.deliveries[pk]
            if before.deliveries[pk]["lease_expires_at"] <= now:
                assert row["state"] != State.RUNNING, f"not rescued: {row}"
        for pk in unknown_ones:
            row = after.deliveries[pk]
            if row["state"] != State.POISONED:
                self.did("known again")
                assert row["attempts"] == before.deliveries[pk]["attempts"]

    @precondition(lambda self: self.rows.waiting())
    @rule()
    def relay(self) -> None:
        """It says when to look again, and sends hints; it changes nothing else."""
        in_flight = len(broker.in_flight)
        with self.worker():
            assert sweeps.sweep(HERE, sweeps.RELAY, now=True) is not None
        before, after, _ = self.look(may_change=self.rows.waiting())
        if len(broker.in_flight) > in_flight:
            self.did("relay")
        for pk, was in before.deliveries.items():
            kept = {k: v for k, v in after.deliveries[pk].items() if k not in ("look_at", "hints")}
            assert kept.items() <= was.items(), f"the relay changed {was}"

    @rule(
        numbers=SOME,
        moods=MOODS,
        after_a_week=st.sampled_from([True, True, False]),
        owed_again=st.booleans(),
    )
    def prune(
        self, numbers: list[int], moods: list[Mood], after_a_week: bool, owed_again: bool
    ) -> None:
        """Exactly what ended well, is old, and is owed no more; some has just ended."""
        ids = self.pick(self.rows.waiting(), numbers)
        self._deliver({"v": 1, "db": HERE, "ids": ids}, moods, "quick", is_hurried=False)
        if owed_again:
            Order.objects.update(charge_id="", status="placed")
        if after_a_week:
            self.jump(RETENTION + MINUTE)
        wanted = {pk for pk, row in self.rows.deliveries.items() if self._may_be_pruned(row)}
        prune.forget()  # a process that swept before passes for hours by what it kept then
        with self.worker():
            swept = sweeps.sweep(HERE, sweeps.PRUNE, now=True)
        assert swept is not None
        self.model.forget(wanted)
        if wanted:
            self.did("prune")
        if any(row["effect"] == "machine.owe" for row in self._old_successes()):
            self.did("prune of debts" if not owed_again else "debts still owed are not pruned")
        self.look(may_change=wanted)

    def _old_successes(self) -> list[Row]:
        old = self.now() - RETENTION
        succeeded = [self.rows.deliveries[pk] for pk in self.all_in((State.SUCCEEDED,))]
        return [row for row in succeeded if row["finished_at"] <= old]

    def _may_be_pruned(self, row: Row) -> bool:
        if row["finished_at"] is None or row["finished_at"] > self.now() - RETENTION:
            return False
        if self.is_old_release and row["effect"] in ("machine.plain", "machine.ask"):
            return False
        has_query = row["effect"] == "machine.owe"
        if has_query:
            subject = self.rows.events[row["event_id"]]["subject_pk"]
            if owing().filter(pk=subject).exists():
                return False
        ended = row["state"]
        return (
            ended == State.SUCCEEDED
            or (ended == State.SKIPPED and row["reason"] == Reason.NOT_NEEDED)
            or (ended == State.CANCELLED and not has_query)
        )

    @rule(
        number=NUMBER,
        span=st.sampled_from([SECOND, 11 * SECOND, 45 * SECOND, 12 * MINUTE, 2 * HOUR, 31 * HOUR]),
        instant=st.sampled_from(["", "due_at", "look_at", "lease_expires_at"]),
        early=st.booleans(),
    )
    def clock_jumps(self, number: int, span: timedelta, instant: str, early: bool) -> None:
        """By *span*, or to the moment (or just before) something falls due, or a lease ends."""
        now, standing = self.now(), self.rows.deliveries
        coming = [pk for pk, row in standing.items() if instant and (row[instant] or now) > now]
        for pk in self.pick(coming, [number]):
            span = standing[pk][instant] - now
            span = max(timedelta(0), span - SECOND) if early else span
            self.did(f"clock jumps to a {instant}")
        self.jump(span)
        self.did("clock jumps")

    @precondition(lambda self: self.any_in((State.RUNNING,)))
    @rule()
    def all_leases_end(self) -> None:
        """Whoever runs something now was too slow, or is dead."""
        standing = self.rows.deliveries
        ends = [standing[pk]["lease_expires_at"] for pk in self.all_in((State.RUNNING,))]
        self.jump(max(timedelta(0), max(ends) - self.now()) + SECOND)
        self.rescue()

    # Other releases

    @rule()
    def workers_of_another_release(self) -> None:
        """From now on those of the release before; the next time, of this one again."""
        self.is_old_release = not self.is_old_release
        self.did("old release" if self.is_old_release else "new release again")

    # Backups

    @precondition(lambda self: self.backup is None)
    @rule()
    def back_up(self) -> None:
        self.backup = rows.backup(), self.model.backup(), list(self.orders)
        self.did("backup")

    @precondition(lambda self: self.backup is not None)
    @rule()
    def restore(self) -> None:
        """All tables, the shop's too, are what they were; workers and the outside world go on."""
        saved, model, orders = self.backup
        self.backup = None
        rows.restore(saved)
        self.model.restore(model)
        for held in self.held:
            if not held.has_run and held.what in self.model.allowed:
                self.model.excuse(held.what)  # it will, and so may whoever claims the row now
        self.orders = list(orders)
        self.forget_moves()
        self.rows = rows.Rows.read()
        self.did("restore")
        self.look()


def _rescued_well(move: Move) -> bool:
    """Who died in a group is not blamed, and who asked is no killer; from now on each is alone."""
    was, now = move.was, move.now
    newly_forgiven = now["flags"] & ~was["flags"] & Flag.FORGIVEN
    is_innocent = was["flags"] & Flag.GROUP or newly_forgiven
    given_back = 1 if is_innocent and not was["flags"] & Flag.VERIFYING else 0
    can_verify = was["flags"] & (Flag.VERIFIABLE | Flag.VERIFYING)
    ends = {State.UNCERTAIN} if can_verify else {State.PENDING, State.POISONED}
    return (
        now["state"] in ends
        and now["attempts"] == was["attempts"] - given_back
        and bool(now["flags"] & Flag.ALONE)
        and not now["flags"] & (Flag.GROUP | Flag.VERIFYING)
    )


def _may_come_back(row: Row) -> bool:
    return row["state"] == State.POISONED and row["reason"] == Reason.UNKNOWN_EFFECT
