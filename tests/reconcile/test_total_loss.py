"""Our own rows are gone, all of them or since yesterday: the business rows say what is owed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest
from django.db import connection, transaction

from reliable_effects.clock import moved
from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent
from reliable_effects.outbox.rescue import rescue
from reliable_effects.outbox.states import State
from reliable_effects.reconcile.models import Tier
from reliable_effects.reconcile.walk import due_walk, go_on
from tests.shop.models import LedgerEntry, Order

from .conftest import HOUR, an_order, carry_out_all, pay

pytestmark = pytest.mark.django_db(transaction=True)

TABLES = [model._meta.db_table for model in (Attempt, Delivery, OutboxEvent)]


@pytest.fixture
def charge(make_owed):
    """It fails for orders whose partner is away, and dies for those that kill."""

    def charge_or_fail(order: Order, ctx) -> None:
        if order.status == "placed" and order.charge_id == "":
            pay(order, ctx)

    return make_owed(charge_or_fail, name="test.charge")


@pytest.fixture
def orders(charge) -> dict[str, Order]:
    """One in each state that a delivery can be found in."""
    made = {name: an_order() for name in ("paid", "waiting", "running", "forgotten")}
    for name in ("paid", "waiting", "running"):
        with transaction.atomic():
            charge.promise(made[name])
    paid = Delivery.objects.get(event__subject_pk=str(made["paid"].pk))
    from reliable_effects.outbox.deliver import deliver  # noqa: PLC0415

    deliver("default", [paid.pk])
    running = Delivery.objects.filter(event__subject_pk=str(made["running"].pk))
    running.update(
        state=State.RUNNING, attempts=1, claim_token=7, look_at=None,
        lease_expires_at=running.get().due_at,
    )  # fmt: skip
    return made


@pytest.mark.parametrize("lost", ["deliveries", "events", "both"])
def test_what_is_owed_is_done_with_the_same_keys_after_a_table_is_lost(charge, orders, lost):
    """And what the business row calls done is not done again."""
    keys = {name: _key(charge, order) for name, order in orders.items()}
    for table, kind in zip(TABLES, ("deliveries", "deliveries", "events"), strict=True):
        if lost in (kind, "both"):
            _truncate(table)

    _reconcile_once(charge)
    _work()

    _everything_was_paid_once(keys, orders)


def test_a_table_that_is_lost_while_workers_go_on_is_mended(charge, orders):
    """They find deliveries without an event, and set them aside, before anybody reconciles."""
    keys = {name: _key(charge, order) for name, order in orders.items()}
    _truncate(OutboxEvent._meta.db_table)
    _work()

    _reconcile_once(charge)
    _work()

    _everything_was_paid_once(keys, orders)


def test_what_is_owed_is_done_with_the_same_keys_after_yesterdays_backup(charge, orders):
    """What was paid since the backup waits in it; what was ordered since is not in it."""
    keys = {name: _key(charge, order) for name, order in orders.items()}
    with _backup():
        _work()
        since = an_order()
        with transaction.atomic():
            charge.promise(since)
        orders, keys = orders | {"since": since}, keys | {"since": _key(charge, since)}

    _reconcile_once(charge)
    _work()

    _everything_was_paid_once(keys, orders)


def _key(charge, order: Order) -> str:
    return str(charge.debt_key_of("once", str(order.pk)))


def _reconcile_once(charge) -> None:
    walk = due_walk(charge, "default", Tier.ALL)
    assert not go_on(charge, "default", walk, monotonic() + 60).truncated


def _work() -> None:
    """Workers, an hour later: leases have ended."""
    with moved(HOUR):
        rescue("default", Turn(since_last=None))
        carry_out_all()


def _everything_was_paid_once(keys: dict[str, str], orders: dict[str, Order]) -> None:
    paid = {entry.order_pk: entry.key for entry in LedgerEntry.objects.all()}
    assert LedgerEntry.objects.count() == len(orders)
    assert paid == {order.pk: keys[name] for name, order in orders.items()}
    assert not Delivery.objects.exclude(state__in=(State.SUCCEEDED, State.SKIPPED)).exists()


def _truncate(table: str) -> None:
    with connection.cursor() as cursor:
        verb = "DELETE FROM" if connection.vendor == "sqlite" else "TRUNCATE TABLE"
        cursor.execute(f"{verb} {table}")


@contextmanager
def _backup() -> Iterator[None]:
    """What the tables hold now is what they hold after the block, as after a restore."""
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"CREATE TABLE backup_{table} AS SELECT * FROM {table}")
    try:
        yield
        for table in TABLES:
            _truncate(table)
        with connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"INSERT INTO {table} SELECT * FROM backup_{table}")
    finally:
        with connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"DROP TABLE backup_{table}")
