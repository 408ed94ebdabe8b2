"""A worker is given a hint: claim, run, complete, in every way in which it takes them together."""

from __future__ import annotations

from django.db import transaction

from reliable_effects import tasks
from reliable_effects.clock import DbNow
from reliable_effects.outbox import timeout
from reliable_effects.outbox.kept_connections import close_kept
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import Flag, State
from reliable_effects.outbox.worker import work
from tests.shop.models import Order

from ..effects import bill, book, charge, label, placed, points, receipt, thank, wrap
from .act import Act, hint_all, known_as_quick, known_as_slow, promise, put


def one() -> None:
    promise(wrap)


def deliver_as_celery_does() -> None:
    """Through our task, whose connection is kept, in a process that may be killed for its time."""
    timeout.enforce_here()
    pks = list(Delivery.objects.values_list("pk", flat=True))
    for _ in range(2):  # the second comes too late, and on the kept connection
        tasks.deliver({"v": 1, "db": "default", "ids": pks})
    close_kept()


def quick_ones() -> None:
    """Run in a line; on PostgreSQL the completion of one claims the next."""
    known_as_quick(receipt, wrap, label, bill)
    promise(wrap, label, bill)


def an_atomic_one() -> None:
    promise(book)


def one_that_emits() -> None:
    with transaction.atomic():
        placed.emit(Order.objects.create())
    Delivery.objects.exclude(effect=charge.name).delete()


def harmless_ones() -> None:
    known_as_quick(thank)
    for _ in range(_GROUP):
        promise(thank)


def some_of_every_pace() -> None:
    """One runs here, the others go on as hints of their own, and one has died before."""
    known_as_quick(wrap)
    known_as_slow(label, receipt, points)
    with transaction.atomic():
        order = Order.objects.create()
        placed.emit(order)
    promise(wrap, label, bill, order=order)
    put(bill, State.PENDING, flags=Flag.ALONE | Flag.BEGUN)


def work_without_a_broker() -> None:
    """As a child of `effects_worker` does."""
    work((), lambda: False, drain=True)


def due_ones() -> None:
    promise(wrap, label, bill)
    Delivery.objects.update(look_at=DbNow())


_GROUP = 3

ACTS = [
    Act(
        name="deliver one, by Celery's task",
        prepare=one,
        play=deliver_as_celery_does,
        owed=("wrap",),
    ),
    Act(
        name="deliver a line of quick ones",
        prepare=quick_ones,
        play=hint_all,
        owed=("wrap", "label", "bill"),
    ),
    Act(name="deliver an atomic one", prepare=an_atomic_one, play=hint_all, owed=("book", "thank")),
    Act(
        name="deliver one that emits",
        prepare=one_that_emits,
        play=hint_all,
        owed=("charge", "thank"),
    ),
    Act(
        name="deliver a harmless group",
        prepare=harmless_ones,
        play=hint_all,
        owed=("thank",),
        extra_runs=_GROUP,
    ),
    Act(
        name="deliver some and hand on the others",
        prepare=some_of_every_pace,
        play=hint_all,
        owed=("receipt", "points", "charge", "thank", "wrap", "label", "bill"),
    ),
    Act(
        name="deliver without a broker",
        prepare=due_ones,
        play=work_without_a_broker,
        owed=("wrap", "label", "bill"),
    ),
]
