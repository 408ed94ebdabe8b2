"""What a worker does with its deliveries: each way to take one, and each way to let go of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from reliable_effects import ONCE, Poison, Skip, Snooze, Uncertain
from reliable_effects.clock import DbNow
from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.pace import pace
from reliable_effects.outbox.relay import take
from reliable_effects.outbox.states import Notes, Reason, State
from tests.faults.lost_answers.scenario import Ending, MakeEffect, Scenario
from tests.outbox.conftest import pending_delivery, uncertain_delivery
from tests.shop.models import LedgerEntry, Order


class OneDelivery(Scenario):
    """Claimed, carried out, completed."""


class OneAfterAnother(Scenario):
    """Quick ones: each is completed together with the claim of the next."""

    def prepare(self) -> list[Delivery]:
        pace.note(self.effect.name, 0.001)
        return [pending_delivery(self.effect) for _ in range(3)]


class HarmlessGroup(OneAfterAnother):
    """Claimed together, completed together."""

    def declare(self, make_effect: MakeEffect) -> None:
        self.effect = make_effect(self.acts, harmless_to_repeat=True)


class Atomic(Scenario):
    """It completes with its own writes, which are done once; what it does outside may be repeated."""

    ending = Ending(more_runs=1)

    def declare(self, make_effect: MakeEffect) -> None:
        self.effect = make_effect(self.writes, atomic=True)

    def writes(self, order: Order, ctx: Any) -> None:
        self.acts(order, ctx)
        LedgerEntry.objects.create(order_pk=order.pk, what="atomic", key=ctx.idempotency_key)

    def judge_more(self) -> None:
        written = LedgerEntry.objects.filter(order_pk=self.rows[0].event.subject_pk)
        assert written.count() == 1


class Failing(Scenario):
    """A failed attempt is kept, once, and the last one sets the delivery aside."""

    ending = Ending(State.POISONED, runs=2, attempts=2, kept=2)

    def declare(self, make_effect: MakeEffect) -> None:
        self.effect = make_effect(self.acts_and_raises(ValueError("no")), max_attempts=2)


class Snoozing(Scenario):
    """An attempt is given back, once."""

    ending = Ending(runs=2)

    def declare(self, make_effect: MakeEffect) -> None:
        def snoozes_once(order: Order, ctx: Any) -> None:
            self.acts(order, ctx)
            if len(self.outside.calls()) == 1:
                raise Snooze(timedelta(minutes=1))

        self.effect = make_effect(snoozes_once)

    def judge_more(self) -> None:
        assert self.rows[0].notes == {Notes.SNOOZED: 60.0, Notes.ROUND: 1}


class Skipping(Scenario):
    ending = Ending(State.SKIPPED, kept=1)

    def declare(self, make_effect: MakeEffect) -> None:
        self.effect = make_effect(self.acts_and_raises(Skip("not today")))


class NoLongerOwed(Scenario):
    """Asked again under the row's lock, so that a debt promised meanwhile is not skipped."""

    ending = Ending(State.SKIPPED, runs=0)

    def declare(self, make_effect: MakeEffect) -> None:
        self.effect = make_effect(self.acts)
        self.effect.owed(since="placed_at", grace=timedelta(0), debt=ONCE)(Order.objects.none)

    def judge_more(self) -> None:
        assert self.rows[0].reason == Reason.NOT_NEEDED


class InDoubt(Scenario):
    ending = Ending(State.UNCERTAIN, kept=1)

    def declare(self, make_effect: MakeEffect) -> None:
        self.effect = make_effect(self.acts_and_raises(Uncertain("no answer")))

    def judge_more(self) -> None:
        assert self.rows[0].look_at is None  # a person must decide


class Refusing(Scenario):
    ending = Ending(State.POISONED, kept=1)

    def declare(self, make_effect: MakeEffect) -> None:
        self.effect = make_effect(self.acts_and_raises(Poison("never")))


class VerifiedDone(Scenario):
    """Nothing runs again that verify says has happened."""

    ending = Ending(runs=0)
    happened = True
    notes: set[str] = set()  # beside the count

    def declare(self, make_effect: MakeEffect) -> None:
        self.effect = make_effect(self.acts, verify=lambda *_: self.happened)

    def prepare(self) -> list[Delivery]:
        return [uncertain_delivery(self.effect)]

    def judge_more(self) -> None:
        (row,) = self.rows
        assert row.notes.pop(Notes.VERIFIES) == 1
        # That it had not happened is kept; that it did not since is over with its run.
        assert row.notes.keys() == self.notes


class VerifiedNotDone(VerifiedDone):
    ending = Ending(attempts=2)
    happened = False
    notes = {Notes.DENIED}


class OfALaterRelease(Scenario):
    """Claimed, not understood, and put back: no attempt is spent however often that is done."""

    ending = Ending(State.PENDING, runs=0, attempts=0)

    def prepare(self) -> list[Delivery]:
        return [pending_delivery(self.effect, event={"version": 9})]


class OfAnUnknownEffect(OfALaterRelease):
    def prepare(self) -> list[Delivery]:
        return [pending_delivery("test.nobody_knows_it")]


class Heartbeat(Scenario):
    """A lease that is renewed, or may be, is no reason to run anything twice."""

    def declare(self, make_effect: MakeEffect) -> None:
        def beats(order: Order, ctx: Any) -> None:
            ctx.heartbeat()
            self.acts(order, ctx)
            ctx.heartbeat()

        self.effect = make_effect(beats)


class WithoutABroker(Scenario):
    """`effects_worker` takes rows itself, and puts back what must not wait in its line."""

    def prepare(self) -> list[Delivery]:
        pace.note(self.effect.name, 1.0)  # slow: each would go on as a hint of its own
        return [pending_delivery(self.effect, look_at=DbNow()) for _ in range(3)]

    def act(self) -> None:
        taken = take("default", "effects", 50)
        deliver("default", [row.id for row in taken], hand_on=lambda *_: False)


class Spent(Scenario):
    """Its last attempt never came back to count itself out."""

    ending = Ending(State.POISONED, runs=0, attempts=8, kept=1)

    def prepare(self) -> list[Delivery]:
        return [pending_delivery(self.effect, attempts=8)]
