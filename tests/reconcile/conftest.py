"""Orders that owe, effects with an owed query, and hands that reconcile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from time import monotonic
from typing import Any

import pytest
from django.utils import timezone

from reliable_effects import ONCE
from reliable_effects.clock import moved
from reliable_effects.effects.effect import Effect
from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from reliable_effects.reconcile.classify import classify
from reliable_effects.reconcile.models import Tier, Walk
from reliable_effects.reconcile.owing import chunks
from reliable_effects.reconcile.walk import Stretch, due_walk, go_on, span_of
from tests.forgetting import forget_everything
from tests.outbox.conftest import listening, make_effect  # noqa: F401  # fixtures, and a hand
from tests.shop.effects import charge_card
from tests.shop.models import LedgerEntry, Order

GRACE = timedelta(minutes=15)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

Make = Callable[..., Effect[Order, Any]]


@pytest.fixture(autouse=True)
def _this_process_remembers_nothing() -> None:
    forget_everything()


@pytest.fixture(autouse=True)
def _nobody_else_owes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shop's own effect has an owed query too; here each test brings what it is about."""
    monkeypatch.setattr(charge_card, "owed_query", None)


def pay(order: Order, ctx: Any) -> None:
    """What the effects here do: a line outside, and the business row says that it is done."""
    LedgerEntry.objects.create(order_pk=order.pk, what="paid", key=ctx.idempotency_key)
    Order.objects.filter(pk=order.pk).update(charge_id=ctx.idempotency_key)


def unpaid() -> Any:
    return Order.objects.filter(status="placed", charge_id="")


@pytest.fixture
def make_owed(make_effect: Make) -> Iterator[Make]:  # noqa: F811  # the fixture
    """An effect on an Order whose owed query is `unpaid`; `owed` has other arguments for it."""

    def make(
        function: Callable[..., Any] = pay,
        *,
        query: Callable[[], Any] = unpaid,
        owed: dict[str, Any] | None = None,
        **options: Any,
    ) -> Effect[Order, Any]:
        effect = make_effect(function, **options)
        effect.owed(**{"since": "placed_at", "grace": GRACE, "debt": ONCE, **(owed or {})})(query)
        return effect

    return make


@pytest.fixture
def charge(make_owed: Make) -> Effect[Order, Any]:
    return make_owed(name="test.charge")


def an_order(ago: timedelta = HOUR, **columns: Any) -> Order:
    """Placed so long *ago*; it owes."""
    order = Order.objects.create(**columns)
    Order.objects.filter(pk=order.pk).update(placed_at=timezone.now() - ago)
    order.refresh_from_db()
    return order


def found_in(effect: Effect[Any, Any], tier: Tier = Tier.ALL) -> dict[int, str]:
    """What each order that owes is found to be; nothing is changed."""
    return {
        int(found.owing.pk): str(found.finding)
        for chunk in chunks(effect, "default", span_of(effect, "default", tier), None)
        for found in classify(effect, "default", chunk)
    }


def reconciled(effect: Effect[Any, Any], tier: Tier = Tier.ALL) -> Stretch:
    """One turn of a walk that begins, or goes on, now; as long as it likes."""
    Walk.objects.filter(is_under_way=False).update(began_at=None)
    walk = due_walk(effect, "default", tier)
    assert walk is not None
    return go_on(effect, "default", walk, monotonic() + 60)


def carry_out_all() -> None:
    """As workers would, in the order of the rows."""
    for pk in Delivery.objects.waiting().order_by("pk").values_list("pk", flat=True):
        deliver("default", [pk])


def the_delivery(effect: Effect[Any, Any], order: Order) -> Delivery:
    return Delivery.objects.get(effect=effect.name, event__subject_pk=str(order.pk))


def ended(effect: Effect[Any, Any], order: Order, ago: timedelta, **columns: Any) -> Delivery:
    """What *effect* owes to *order* has ended so long *ago*."""
    from django.db import transaction  # noqa: PLC0415

    with transaction.atomic():
        effect.promise(order)
    row = the_delivery(effect, order)
    columns = {"state": State.SUCCEEDED, "attempts": 1, "look_at": None, "hints": 0, **columns}
    Delivery.objects.filter(pk=row.pk).update(**columns, finished_at=timezone.now() - ago)
    row.refresh_from_db()
    return row


__all__ = ["listening", "moved"]
