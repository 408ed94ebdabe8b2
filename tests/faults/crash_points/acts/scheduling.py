"""A client schedules, moves and cancels; a tick emits. Whoever dies, each job is one event or none."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction

from reliable_effects.clock import DbNow, read_clock
from reliable_effects.outbox.sweeps import sweep
from reliable_effects.schedule.models import ScheduledJob
from reliable_effects.schedule.tick import TICK
from tests.shop.events import order_seen
from tests.shop.models import Order, TrialExpiry

from .. import effects, outer_world
from .act import Act
from .emitting import RIVER

_FAR = timedelta(days=30)  # beyond what the drain's clock comes to


def order_for_later() -> None:
    """It is due when the client is gone."""
    with transaction.atomic():
        order = Order.objects.create()
        now = read_clock("default")
        effects.placed.schedule(order, {"n": 1}, at=now, key=f"place:{order.pk}")
        outer_world.tell_client("leaving")
    outer_world.tell_client("committed")


def _schedule(*keys: str) -> None:
    """One order each, in the far future."""
    at = read_clock("default") + _FAR
    with transaction.atomic():
        orders = [Order.objects.create() for _ in keys]
        plans = [(order, {"n": 1}, at, key) for order, key in zip(orders, keys, strict=True)]
        effects.placed.schedule_many(plans)


def due_ones() -> None:
    """Two that emit; one that is too late, one whose subject is gone, and a typed one."""
    _schedule("due", "due too")
    ScheduledJob.objects.update(at=DbNow() - timedelta(minutes=1))
    _schedule("late", "orphan")
    late = ScheduledJob.objects.filter(key="late")
    late.update(at=DbNow() - timedelta(days=1), late=timedelta(hours=1))
    ScheduledJob.objects.filter(key="orphan").update(at=DbNow() - timedelta(hours=1))
    gone = ScheduledJob.objects.filter(key__in=("late", "orphan"))
    Order.objects.filter(pk__in=[int(job.subject_pk) for job in gone]).delete()
    order = Order.objects.order_by("pk").first()
    TrialExpiry.objects.create(order=order, at=read_clock("default") - timedelta(minutes=1))


def tick() -> None:
    sweep("default", TICK, now=True)


def three_far_ones() -> None:
    _schedule("sooner", "never", "replaced")


def change_ones_mind() -> None:
    """One is due at once, one is given up, one is another."""
    with transaction.atomic():
        now = read_clock("default")
        effects.placed.reschedule(key="sooner", at=now)
        effects.placed.cancel(key="never")
        order = Order.objects.order_by("pk").first()
        assert order is not None
        order_seen.schedule(order, at=now, key="replaced")  # another event's key
        effects.placed.schedule(order, at=now + _FAR, key="replaced", on_conflict="replace")
        outer_world.tell_client("leaving")
    outer_world.tell_client("committed")


ACTS = [
    Act(name="schedule", play=order_for_later, owed=RIVER, makes_orders=True),
    Act(name="tick", prepare=due_ones, play=tick, owed=RIVER, extra_runs=0),
    Act(
        name="reschedule, cancel, replace",
        prepare=three_far_ones,
        play=change_ones_mind,
        may_stay=True,
        extra_runs=0,
    ),
]
