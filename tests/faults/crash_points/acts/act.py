"""One act that is killed at each of its lines, and what must have become of it in the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction

from reliable_effects.clock import DbNow
from reliable_effects.effects.effect import Effect
from reliable_effects.outbox.deliver import on_hint
from reliable_effects.outbox.models import Delivery, DeliveryQuerySet
from reliable_effects.outbox.pace import pace
from reliable_effects.outbox.states import Flag, State
from tests.shop.models import Order


def nothing() -> None:
    """The default of what an act may leave out."""


@dataclass(frozen=True, kw_only=True)
class Act:
    name: str
    prepare: Callable[[], Any] = nothing  # what stood before; nobody is killed there
    play: Callable[[], Any]
    owed: tuple[str, ...] = ()  # to each order, in the end: what partners are called for
    makes_orders: bool = False  # then there is none but what `play` commits
    extra_runs: int = 1  # that one kill may cost
    may_stay: bool = False  # until its caller had an answer, all may be as if it never began
    meanwhile: Callable[[], Any] = nothing  # what is another thing about the worker that drains


# What stands before an act


def promise(*effects: Effect[Any, Any], order: Order | None = None) -> Order:
    """Owed to one order, and due."""
    order = order or Order.objects.create()
    with transaction.atomic():
        for effect in effects:
            effect.promise(order)
    return order


def put(effect: Effect[Any, Any], state: State, *, of: Order | None = None, **columns: Any) -> None:
    """Write down that what *effect* owes (to one order, or to any) has come to *state*."""
    begun = {"state": state, "flags": Flag.BEGUN, "attempts": 1, "hints": 0}
    match state:
        case State.RUNNING:
            died = DbNow() - timedelta(seconds=1)
            begun |= {"claim_token": 7, "lease_expires_at": died, "look_at": None}
        case State.PENDING:
            begun |= {"look_at": DbNow()}
        case State.UNCERTAIN:
            begun |= {"look_at": None}
        case _:
            begun |= {"look_at": None, "finished_at": DbNow()}
    _owed(effect, of).update(**begun | columns)


def key_of(effect: Effect[Any, Any], order: Order) -> str:
    return _owed(effect, order).get().idempotency_key


def _owed(effect: Effect[Any, Any], order: Order | None) -> DeliveryQuerySet:
    rows = Delivery.objects.filter(effect=effect.name)
    return rows if order is None else rows.for_subject(order)


def known_as_quick(*effects: Effect[Any, Any]) -> None:
    """This worker has measured them, so they run in a line."""
    for effect in effects:
        pace.note(effect.name, 0.001)


def known_as_slow(*effects: Effect[Any, Any]) -> None:
    for effect in effects:
        pace.note(effect.name, 1.0)


# What workers do


def hint_all() -> None:
    """A hint of every delivery that stands, in their order."""
    pks = list(Delivery.objects.order_by("pk").values_list("pk", flat=True))
    on_hint({"v": 1, "db": "default", "ids": pks})
