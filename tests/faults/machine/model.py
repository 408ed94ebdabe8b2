"""What must be so, whatever has happened: debts, runs, and how often each run is explained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from reliable_effects.outbox.states import WAITING, Notes, State, noted
from tests.shop.models import LedgerEntry

from . import moves
from .effects import what_of
from .expected import may_wait_for_a_person
from .moves import Move
from .rows import Row, Rows
from .script import Script


@dataclass(frozen=True)
class Debt:
    """A committed delivery."""

    key: UUID
    effect: str
    what: str
    place: tuple[int, str, str]  # when it was committed, for whom, and what: rows of one emit are
    # numbered by their keys, and those are random


@dataclass
class Model:
    """Debts by delivery, and the runs that each may have had in all."""

    script: Script
    debts: dict[int, Debt] = field(default_factory=dict)
    allowed: Counter[str] = field(default_factory=Counter)  # runs, by what they did
    forgotten: set[str] = field(default_factory=set)  # committed once; pruned, or lost by a restore
    reborn: set[UUID] = field(default_factory=set)  # keys that were owed anew after that
    looks: int = 0
    excused: int = 0  # runs beyond the first that some fault allows

    def runs(self) -> Counter[str]:
        return Counter(call.what for call in self.script.outside.calls())

    def excuse(self, what: str, times: int = 1) -> None:
        """A fault struck after it may have acted: it may act once more."""
        self.allowed[what] += times
        self.excused += times

    # One step

    def compare(
        self, before: Rows, after: Rows, *, may_change: Collection[int], born_of: Collection[UUID]
    ) -> list[Move]:
        """
        Judge what a rule did to the rows; what it moved.

        *may_change* are the deliveries that were its business, *born_of* the events whose
        deliveries may be new.
        """
        self.looks += 1
        seen = moves.taken()
        for move in seen:
            moves.check(move)
        for pk, row in before.deliveries.items():
            if pk in may_change:
                continue
            assert after.deliveries.get(pk) == row, f"somebody else's row changed: {row}"
            assert after.attempts[pk] == before.attempts[pk], f"somebody else's attempt: {row}"
        self._adopt(before, after, born_of)
        self._conserve(after)
        self._judge_runs(after)
        return seen

    def _adopt(self, before: Rows, after: Rows, born_of: Collection[UUID]) -> None:
        for pk, row in after.deliveries.items():
            if pk in before.deliveries:
                continue
            assert row["event_id"] in born_of, f"a phantom: {row}"
            subject = after.events[row["event_id"]]["subject_pk"]
            what = what_of(row["effect"], row["event_id"], subject)
            twins = [debt for debt in self.debts.values() if debt.what == what]
            assert not twins, f"owed twice: {what}"
            place = (self.looks, subject, row["effect"])
            self.debts[pk] = Debt(row["key"], row["effect"], what, place)
            if what in self.forgotten:
                # It was done, perhaps, and pruned or lost since: owed anew, it may be done anew.
                extra = max(0, self.runs()[what] + 1 - self.allowed[what])
                self.excuse(what, extra)
                self.forgotten.discard(what)
                self.reborn.add(row["key"])
            else:
                self.allowed[what] = 1

    def _conserve(self, after: Rows) -> None:
        assert after.deliveries.keys() == self.debts.keys(), (
            f"lost {self.debts.keys() - after.deliveries.keys()},"
            f" phantom {after.deliveries.keys() - self.debts.keys()}"
        )
        keys = Counter(row["key"] for row in after.deliveries.values())
        assert max(keys.values(), default=1) == 1, "two deliveries under one key"
        for pk, row in after.deliveries.items():
            assert row["key"] == self.debts[pk].key, f"another key: {row}"
            assert row["event_id"] in after.events, f"its event is gone: {row}"
            self._stands_well(row)
        self._children_are_born_once(after)

    @staticmethod
    def _stands_well(row: Row) -> None:
        is_running = row["state"] == State.RUNNING
        assert (row["claim_token"] is not None) == is_running, f"token: {row}"
        assert (row["lease_expires_at"] is not None) == is_running, f"lease: {row}"
        assert (row["finished_at"] is not None) == (
            row["state"] not in (*WAITING, State.RUNNING)
        ), f"finished: {row}"
        if row["state"] == State.PENDING:
            assert row["look_at"] is not None, f"nobody looks at it: {row}"
        if row["state"] == State.UNCERTAIN and row["look_at"] is None:
            can_verify = row["effect"] == "machine.ask"
            assert may_wait_for_a_person(row, can_verify=can_verify), f"nobody asks: {row}"

    def _children_are_born_once(self, after: Rows) -> None:
        born = [e for e in after.events.values() if e["name"] == "machine.born"]
        by_parent = Counter(event["payload"]["parent"] for event in born)
        for row in after.deliveries.values():
            if row["key"] in self.reborn:
                continue  # the children of its first life may be there still
            children = by_parent[str(row["key"])]
            rounds = 1 + int(noted(row["notes"], Notes.ROUND))
            assert children <= rounds, f"{children} children in {rounds} rounds: {row}"

    def _judge_runs(self, after: Rows) -> None:
        runs = self.runs()
        known = self.allowed.keys()
        assert not runs.keys() - known, f"done, and never committed: {runs.keys() - known}"
        for what, times in runs.items():
            assert times <= self.allowed[what], (
                f"{times} runs, {self.allowed[what]} allowed: {what}"
            )
        kept = Counter(LedgerEntry.objects.values_list("key", flat=True))
        for pk, row in after.deliveries.items():
            succeeded = row["state"] == State.SUCCEEDED
            if succeeded:
                assert runs[self.debts[pk].what], f"succeeded, and was never done: {row}"
            if row["effect"] == "machine.tally":
                assert kept[str(row["key"])] == int(succeeded), f"atomic: {row}"

    def forget(self, deliveries: Iterable[int]) -> None:
        """These were pruned."""
        for pk in deliveries:
            self.forgotten.add(self.debts.pop(pk).what)

    # Backups

    def backup(self) -> Any:
        return deepcopy((self.debts, self.allowed)), self.runs()

    def restore(self, saved: Any) -> None:
        """As the rows were; what was done since may be done again, and what was owed since is gone."""
        (debts, allowed), runs = deepcopy(saved)
        now = self.runs()
        self.debts = debts
        standing = {debt.what for debt in debts.values()}
        for what in standing:
            since = now[what] - runs[what]
            self.excused += since
            allowed[what] += since
            self.forgotten.discard(what)
        gone = self.allowed.keys() - standing
        self.forgotten |= gone
        self.allowed = allowed | Counter(
            {what: max(self.allowed[what], now[what]) for what in gone}
        )
