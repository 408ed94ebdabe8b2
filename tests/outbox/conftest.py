"""Deliveries named for their state, effects of a test's own, and hands to carry them out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.dispatch import Signal

from reliable_effects import Backoff, effect, signals
from reliable_effects.clock import DbNow
from reliable_effects.effects.effect import Effect
from reliable_effects.effects.keys import new_event_id
from reliable_effects.effects.registry import registry
from reliable_effects.outbox import deliver as deliver_module
from reliable_effects.outbox.claim import claim, look
from reliable_effects.outbox.claimed import Claimed
from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.states import WAITING, Flag, Reason, State
from tests.forgetting import forget_rows
from tests.shop.models import LedgerEntry, Order

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _this_process_remembers_nothing() -> Iterator[None]:
    """What an earlier test measured or told would change what this one does."""
    forget_rows()
    yield
    forget_rows()


# Effects


@pytest.fixture
def make_effect() -> Iterator[Callable[..., Effect[Order, Any]]]:
    """
    `make_effect(function, **options)`: an effect on an Order, forgotten after the test.

    Without a function it writes one line to the ledger. Retries are due at once.
    """

    def make(function: Callable[..., Any] | None = None, **options: Any) -> Effect[Order, Any]:
        name = options.pop("name", f"test.effect_{next(_numbers)}")
        options.setdefault("backoff", Backoff(first=timedelta(0), longest=timedelta(0)))
        if "on" not in options:
            options.setdefault("subject", "shop.Order")
        return effect(name, **options)(function or write_down)

    with registry.scratch():
        yield make


def write_down(order: Order | None, ctx: Any) -> None:
    """What effects do here: a line in the ledger, which is the tests' outside world."""
    LedgerEntry.objects.create(
        order_pk=order.pk if order is not None else 0,
        what=str(ctx.delivery_id),
        key=ctx.idempotency_key,
    )


def raising(error: BaseException) -> Callable[..., None]:
    """An effect that does nothing but raise."""

    def function(*_: Any) -> None:
        raise error

    return function


def runs_of(delivery: Delivery) -> int:
    """How often the effect of `write_down` was carried out for *delivery*."""
    return LedgerEntry.objects.filter(what=str(delivery.pk)).count()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hint has all the time it wants: for tests on busy machines whose subject is not time."""
    monkeypatch.setattr(deliver_module, "BATCH_BOUND", 60.0)


# Rows, each as the code would have left it


def pending_delivery(
    of: Effect[Any, Any] | str = "shop.wrap",
    *,
    subject: Order | None = None,
    payload: dict[str, Any] | None = None,
    event: dict[str, Any] | OutboxEvent | None = None,
    **columns: Any,
) -> Delivery:
    """Owed to a new order and due now. `event` is its event, or columns of it; the rest its own."""
    if not isinstance(event, OutboxEvent):
        event = an_event(subject, payload=payload or {}, **(event or {}))
    columns = {
        "event": event,
        "effect": of if isinstance(of, str) else of.name,
        "key": uuid4(),
        "queue": "effects" if isinstance(of, str) else of.queue,
        "state": State.PENDING,
        "due_at": DbNow(),
        **columns,
    }
    if columns["state"] in WAITING:
        columns.setdefault("look_at", DbNow())
    return Delivery.objects.get(pk=Delivery.objects.create(**columns).pk)


def an_event(subject: Order | None = None, **columns: Any) -> OutboxEvent:
    """A promise about *subject*, or about a new order."""
    subject = subject or Order.objects.create()
    facts = {
        "id": new_event_id(),
        "name": "shop.wrap",
        "subject_model": "shop.order",
        "subject_pk": str(subject.pk),
        "payload": {},
        "correlation": uuid4(),
        "source": "promise",
    }
    return OutboxEvent.objects.create(**facts | columns)


def running_delivery(of: Effect[Any, Any] | str = "shop.wrap", **columns: Any) -> Delivery:
    """Claimed by a worker that is still within its lease."""
    columns = {
        "state": State.RUNNING,
        "attempts": 1,
        "claim_token": next(_numbers),
        "lease_expires_at": DbNow() + timedelta(minutes=5),
        "worker": "elsewhere:1",
        "flags": Flag.BEGUN,
        **columns,
    }
    return pending_delivery(of, **columns)


def expired_delivery(of: Effect[Any, Any] | str = "shop.wrap", **columns: Any) -> Delivery:
    """Claimed by a worker that was not heard of until its lease ended."""
    columns.setdefault("lease_expires_at", DbNow() - timedelta(seconds=1))
    return running_delivery(of, **columns)


def succeeded_delivery(of: Effect[Any, Any] | str = "shop.wrap", **columns: Any) -> Delivery:
    return _ended(of, State.SUCCEEDED, columns)


def skipped_delivery(of: Effect[Any, Any] | str = "shop.wrap", **columns: Any) -> Delivery:
    return _ended(of, State.SKIPPED, {"reason": Reason.NOT_NEEDED, **columns})


def cancelled_delivery(of: Effect[Any, Any] | str = "shop.wrap", **columns: Any) -> Delivery:
    return _ended(of, State.CANCELLED, columns)


def poisoned_delivery(of: Effect[Any, Any] | str = "shop.wrap", **columns: Any) -> Delivery:
    return _ended(of, State.POISONED, {"reason": Reason.ATTEMPTS_SPENT, "attempts": 8, **columns})


def uncertain_delivery(of: Effect[Any, Any] | str = "shop.wrap", **columns: Any) -> Delivery:
    """Sent, answer never seen; due to be verified. `look_at=None`: a person must decide."""
    columns = {"state": State.UNCERTAIN, "attempts": 1, "flags": Flag.BEGUN, **columns}
    return pending_delivery(of, **columns)


def _ended(of: Effect[Any, Any] | str, state: State, columns: dict[str, Any]) -> Delivery:
    defaults = {"attempts": 1, "flags": Flag.BEGUN, "finished_at": DbNow()}
    return pending_delivery(of, **{**defaults, **columns, "state": state})


IN_STATE: dict[State, Callable[..., Delivery]] = {
    State.PENDING: pending_delivery,
    State.RUNNING: running_delivery,
    State.SUCCEEDED: succeeded_delivery,
    State.SKIPPED: skipped_delivery,
    State.CANCELLED: cancelled_delivery,
    State.UNCERTAIN: uncertain_delivery,
    State.POISONED: poisoned_delivery,
}


# Hands


def carry_out(*deliveries: Delivery) -> None:
    """Deliver each by a hint of its own, as a worker would, and read the rows again."""
    for delivery in deliveries:
        deliver("default", [delivery.pk])
    for delivery in deliveries:
        delivery.refresh_from_db()


def claim_of(delivery: Delivery) -> Claimed:
    """Claim it, as its worker."""
    (claimed,) = claim(look("default", [delivery.pk]))
    return claimed


class HandedOn(list[tuple[str, list[int]]]):
    """Takes the place of the broker: queue and ids of each hint that a worker handed on."""

    accepts = True

    def __call__(self, _using: str, queue: str, ids: Any) -> bool:
        self.append((queue, list(ids)))
        return self.accepts

    @property
    def ids(self) -> list[list[int]]:
        return [ids for _, ids in self]


@pytest.fixture
def handed_on() -> HandedOn:
    return HandedOn()


@contextmanager
def listening(signal: Signal) -> Iterator[list[dict[str, Any]]]:
    """What *signal* tells while the block runs; `sender` is among the facts."""
    told: list[dict[str, Any]] = []

    def receive(sender: Any, **facts: Any) -> None:
        told.append({"sender": sender, **facts})

    signal.connect(receive)
    try:
        yield told
    finally:
        signal.disconnect(receive)


ALL_SIGNALS = {name: s for name, s in vars(signals).items() if isinstance(s, Signal)}
