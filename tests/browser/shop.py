"""
A shop whose courier answers wrongly, and the hands that work for it while somebody looks.

Its effect fails as effects of other projects do: in a line of its own, with a traceback. Time goes
by when `pass_time` says so; nobody sleeps.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from time import monotonic
from typing import Any, Self

from django.db import transaction
from django.utils import timezone

from reliable_effects import ONCE, Backoff, effect
from reliable_effects.clock import moved
from reliable_effects.console.redriving.models import ACTIVE, RedriveOperation
from reliable_effects.console.redriving.steps import REDRIVES
from reliable_effects.outbox import sweeps
from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.models import Delivery, DeliveryQuerySet
from reliable_effects.reconcile.models import Tier, Walk
from reliable_effects.reconcile.walk import due_walk, go_on
from tests.browser.behind import behind
from tests.browser.courier import Courier, parcel_number
from tests.shop.events import order_seen
from tests.shop.models import LedgerEntry, Order

BOOK = "shop.book_courier"
_MOST_TURNS = 60  # of a redrive that goes well: five minutes
_AT_ONCE = Backoff(first=timedelta(0), longest=timedelta(0))


class Shop:
    def __init__(self) -> None:
        self.courier = Courier()
        self._times = ExitStack()

    def __enter__(self) -> Self:
        """The effects are forgotten with the `registry.scratch()` around."""
        courier = self.courier

        @effect(
            BOOK,
            on=order_seen,
            max_attempts=2,
            backoff=_AT_ONCE,
            queue="partners",
            still_needed=lambda order: order.status == "placed",
        )
        def book_courier(order: Order, ctx: Any) -> None:
            """Have the parcel fetched. Asked for once: the courier knows the key."""
            parcel = parcel_number(courier.book(order))
            LedgerEntry.objects.create(order_pk=order.pk, what=parcel, key=ctx.idempotency_key)

        @book_courier.owed(since="placed_at", grace=timedelta(minutes=15), debt=ONCE)
        def not_booked() -> Any:
            booked = LedgerEntry.objects.filter(what__startswith="P-").values("order_pk")
            return Order.objects.filter(status="placed").exclude(pk__in=booked)

        self.book_courier = book_courier
        return self

    def __exit__(self, *_: object) -> None:
        self._times.close()

    # What customers do

    def sell(self, count: int, ago: timedelta = timedelta(hours=1)) -> list[Order]:
        """Orders that were placed so long *ago*; the courier is owed for each."""
        orders = Order.objects.bulk_create(Order() for _ in range(count))
        Order.objects.filter(pk__in=[order.pk for order in orders]).update(
            placed_at=timezone.now() - ago
        )
        with transaction.atomic():
            order_seen.emit_many([(order, {}) for order in orders])
        return orders

    def give_back(self, orders: list[Order]) -> None:
        """Customers who would not wait."""
        Order.objects.filter(pk__in=[order.pk for order in orders]).update(status="cancelled")

    # What workers do

    @behind
    def work(self) -> None:
        """Run what is due until nothing is, each by a hint of its own."""
        while ids := list(Delivery.objects.due().order_by("pk").values_list("pk", flat=True)):
            for pk in ids:
                deliver("default", [pk])

    def sweep(self) -> None:
        """Every sweep has a turn."""
        for name in sweeps.periods():
            swept = sweeps.sweep("default", name, now=True)
            assert swept is not None, f"the sweep {name} failed: see the log"

    def reconcile(self) -> None:
        """The walk over all that the courier is owed for."""
        Walk.objects.filter(is_under_way=False).update(began_at=None)
        walk = due_walk(self.book_courier, "default", Tier.ALL)
        assert walk is not None
        go_on(self.book_courier, "default", walk, monotonic() + 60)

    def pass_time(self, span: timedelta) -> None:
        """For databases and workers; to the end of the test."""
        self._times.enter_context(moved(span))

    @behind
    def go_on(self, turns: int) -> None:
        """So many turns of the sweep of redrives, and workers at their work after each."""
        for _ in range(turns):
            self.pass_time(timedelta(seconds=5))
            sweeps.sweep("default", REDRIVES, now=True)
            self.work()

    @behind
    def finish(self) -> None:
        """Until nothing is left of the newest operation, or it has stopped."""
        operation = RedriveOperation.objects.latest("pk")
        for _ in range(_MOST_TURNS):
            self.go_on(turns=1)
            operation.refresh_from_db()
            if operation.state not in ACTIVE:
                break
        # What ended a minute ago is counted, and looked at.
        self.pass_time(timedelta(minutes=2))
        self.reconcile()
        self.sweep()

    # The night

    @behind
    def fall_into_trouble(self, count: int = 200, given_back: int = 12) -> None:
        """Some were booked before; then the courier changed its answer, and all the others fail."""
        self.courier.is_mended = True
        self.sell(30, ago=timedelta(hours=3))
        self.work()
        self.courier.is_mended = False
        orders = self.sell(count)
        self.work()
        self.give_back(orders[:given_back])
        self.reconcile()
        self.sweep()


def deliveries() -> DeliveryQuerySet:
    return Delivery.objects.filter(effect=BOOK)
