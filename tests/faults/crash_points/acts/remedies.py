"""A person redrives or cancels, and the process dies: a row is changed, or it is as it was."""

from __future__ import annotations

from reliable_effects.clock import DbNow
from reliable_effects.outbox import remedy
from reliable_effects.outbox.forget import forget
from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.states import Flag, Reason, State
from tests.shop.models import Order

from .. import effects, outer_world
from .act import Act, promise, put


def set_aside() -> None:
    promise(effects.wrap, effects.label, effects.bill, effects.pay, effects.skip)
    put(effects.wrap, State.POISONED, reason=Reason.ATTEMPTS_SPENT, attempts=8)
    put(effects.label, State.POISONED, reason=Reason.KILLED_WORKERS, notes={"round": 1, "kills": 3})
    put(effects.bill, State.CANCELLED)
    put(effects.pay, State.UNCERTAIN, flags=Flag.BEGUN | Flag.VERIFIABLE)
    put(effects.skip, State.SKIPPED, reason=Reason.EFFECT_SKIPPED)


def redrive() -> None:
    remedy.redrive(Delivery.objects.all(), by="a person", why="the partner is back")
    outer_world.tell_client("committed")


def hopeless() -> None:
    promise(effects.wrap, effects.label, effects.bill, effects.pay)
    put(effects.wrap, State.POISONED, reason=Reason.ATTEMPTS_SPENT, attempts=8)
    put(effects.label, State.UNCERTAIN)
    put(effects.pay, State.UNCERTAIN, look_at=DbNow(), flags=Flag.BEGUN | Flag.VERIFIABLE)


def cancel() -> None:
    remedy.cancel(Delivery.objects.all(), by="a person", why="the partner is gone")
    outer_world.tell_client("committed")


def to_be_forgotten() -> None:
    """Two that wait, one in doubt, one that was done and one that was not; all of one order."""
    order = promise(effects.wrap, effects.label, effects.pay, effects.bill, effects.skip)
    put(effects.pay, State.UNCERTAIN)
    put(effects.bill, State.CANCELLED)
    put(effects.skip, State.SKIPPED, reason=Reason.EFFECT_SKIPPED)
    for row in Delivery.objects.for_subject(order):
        Attempt.objects.create(delivery=row, number=1, outcome=Attempt.Outcome.FAILED, message="x")


def forget_even_what_waits() -> None:
    for order in Order.objects.all():
        forget(order, by="a person", why="the customer asked for it", even_pending=True)
    outer_world.tell_client("committed")


ACTS = [
    Act(name="redrive", prepare=set_aside, play=redrive, may_stay=True, extra_runs=0),
    Act(name="cancel", prepare=hopeless, play=cancel, may_stay=True, extra_runs=0),
    Act(
        name="forget",
        prepare=to_be_forgotten,
        play=forget_even_what_waits,
        may_stay=True,
        extra_runs=0,
    ),
]
