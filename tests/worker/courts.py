"""
Trials: harmful deliveries among innocents, and what the world outside saw of each.

A court promises, waits until everything has come to an end, and counts.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import uuid4

from django.db import transaction

from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.states import State
from tests.faults.evidence import Evidence
from tests.faults.outside import Outside
from tests.shop.models import Order
from tests.waiting import eventually

from . import innocents
from .harm import HARMS
from .innocents import word

SLOTS = 4  # of each worker here
LEASE = 2  # seconds, with the settings of these workers: a second's timeout and a second's grace
SORTS = (innocents.guest, innocents.member, innocents.booker)
RECOVERY = 15  # seconds: a lease, the relay's grace, and a new process on a machine that is busy


@dataclass
class Court:
    """One trial on one worker."""

    outside: Outside
    harmful: dict[int, str] = field(default_factory=dict)  # delivery → kind of harm
    words: dict[int, str] = field(default_factory=dict)  # delivery → what it writes outside
    innocents: set[int] = field(default_factory=set)
    strikes: int = 0  # beside those of the harmful, which count by themselves

    def promise(self, kinds: Iterable[str] = (), *, each: int = 0) -> None:
        """One transaction, so one hint: the harmful in the middle of three sorts of innocents."""
        with transaction.atomic():
            for number in range(each):
                for innocent in SORTS:
                    self._promise(innocent, innocent.name.removeprefix("harm."))
                if number == each // 2:
                    self._promise_harm(kinds)
            if not each:
                self._promise_harm(kinds)

    def _promise_harm(self, kinds: Iterable[str]) -> None:
        for kind in kinds:
            pk = self._promise(HARMS[kind].effect, kind, status="harmful")
            self.harmful[pk] = kind
            self.innocents.discard(pk)

    def owe(self, effect, times: int = 1) -> None:
        """An innocent in a hint of its own, *times*."""
        for _ in range(times):
            with transaction.atomic():
                self._promise(effect, effect.name.removeprefix("harm."))

    def _promise(self, effect, name: str, **subject: str) -> int:
        order = Order.objects.create(**subject)
        pk = Delivery.objects.get(event_id=effect.promise(order).event_id).pk
        self.words[pk] = word(order.pk, name)
        self.innocents.add(pk)
        return pk

    def ended(self) -> bool:
        """Nothing of this trial waits or runs."""
        over = (State.SUCCEEDED, State.POISONED)
        return not Delivery.objects.filter(pk__in=self.words).exclude(state__in=over).exists()

    def runs(self) -> Counter[str]:
        """How often each of this trial has run, as the world outside saw it."""
        ours = set(self.words.values())
        return Counter(call.what for call in self.outside.calls() if call.what in ours)

    def runs_of(self, kind: str) -> int:
        runs = self.runs()
        return sum(runs[self.words[pk]] for pk, name in self.harmful.items() if name == kind)

    def judge(self, evidence: Evidence) -> None:
        """Each harm came to its own end, and every innocent to a good one."""
        rows = Delivery.objects.in_bulk(self.words)
        for pk, kind in self.harmful.items():
            harm_done = HARMS[kind]
            ended = (State(rows[pk].state), rows[pk].reason)
            tried = Attempt.objects.filter(delivery=pk).values_list("exception_type", "message")
            assert ended == (harm_done.state, harm_done.reason), (kind, ended, list(tried))
        convicted = [
            (rows[pk].effect, rows[pk].reason)
            for pk in self.innocents
            if rows[pk].state != State.SUCCEEDED
        ]
        assert convicted == [], convicted
        runs = self.runs()
        keys = {(call.what, call.key) for call in self.outside.calls() if call.what in runs}
        assert len(keys) == len(runs), "one debt was done under two keys"
        evidence.add(
            strikes=self.strikes + sum(runs[self.words[pk]] for pk in self.harmful),
            lost=len(set(self.words.values()) - runs.keys()),
            extra_runs=runs.total() - len(runs),
        )


def warm_up(outside: Outside, kinds: Iterable[str]) -> None:
    """Let the processes learn that these are quick, by subjects that are spared."""
    kinds = list(kinds)
    with transaction.atomic():
        for kind in kinds:
            for _ in range(10):
                HARMS[kind].effect.promise(Order.objects.create())
    court = Court(outside)
    court.promise(each=10)
    names = [HARMS[kind].effect.name for kind in kinds]
    waiting = Delivery.objects.filter(effect__in=names).exclude(state=State.SUCCEEDED)
    eventually(lambda: court.ended() and not waiting.exists(), within=60)


def all_slots_work(outside: Outside, slots: int = SLOTS) -> None:
    """As many effects as there are slots meet: each needs one, at the same time."""
    met = Court(outside)
    meeting = uuid4().hex
    for effect in innocents.MEETING[:slots]:
        with transaction.atomic():
            met._promise(effect, "met", status=str(slots), charge_id=meeting)
    eventually(met.ended, within=60)
    assert not Delivery.objects.filter(pk__in=met.words).exclude(state=State.SUCCEEDED).exists()


def seconds_until_innocents_flow(outside: Outside) -> float:
    """How long new innocents of the same queue take now."""
    began_at = time.monotonic()
    court = Court(outside)
    court.promise(each=3)
    eventually(court.ended, within=RECOVERY)
    return time.monotonic() - began_at
