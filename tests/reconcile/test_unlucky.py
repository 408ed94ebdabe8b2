"""What goes wrong around a walk costs it a turn, and nobody a debt."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from threading import Event, Thread

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone

from reliable_effects import ONCE
from reliable_effects import Event as DeclaredEvent
from reliable_effects.clock import now_sql
from reliable_effects.outbox.forget import forget
from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.states import Notes, Reason, State
from reliable_effects.reconcile import coverage, owing, walk
from reliable_effects.reconcile.models import Coverage, Tier, Walk
from reliable_effects.reconcile.sweeps import reconcile_all
from tests.outbox.conftest import an_event
from tests.shop.models import LedgerEntry, Order

from .conftest import (
    DAY,
    HOUR,
    an_order,
    carry_out_all,
    ended,
    found_in,
    moved,
    pay,
    reconciled,
    the_delivery,
)

pytestmark = pytest.mark.django_db(transaction=True)

TURN = Turn(since_last=None)


def test_an_error_that_passes_costs_the_walk_a_turn_and_not_its_place(make_owed, monkeypatch):
    """A deadlock in the middle of a million rows; from the first row again it might never end."""
    monkeypatch.setattr(owing, "CHUNK", 2)
    asked = []

    def unpaid():
        asked.append(1)
        if len(asked) == 3:
            raise OperationalError("deadlock detected")
        return Order.objects.filter(charge_id="")

    make_owed(query=unpaid)
    for _ in range(5):
        an_order()

    first = reconcile_all("default", TURN)
    then = reconcile_all("default", TURN)

    assert (first.truncated, then.truncated) == (True, False)
    assert Delivery.objects.count() == 5
    assert Walk.objects.get(tier=Tier.ALL).seen == 5


def test_a_query_that_ends_its_process_is_not_the_first_again(make_owed):
    """The sweeper is killed with it; whoever comes next begins with another effect."""

    class Killed(BaseException):
        """As a watchdog would."""

    def killing():
        raise Killed

    make_owed(query=killing, name="test.killer")
    innocent = make_owed(name="test.innocent")
    an_order()

    for _ in range(2):
        with contextlib.suppress(Killed):
            reconcile_all("default", TURN)

    assert [row.effect for row in Delivery.objects.all()] == [innocent.name]


def test_what_cannot_be_mended_does_not_keep_what_can(make_owed):
    """Fifty rows whose payload nobody can make up, and one behind them."""

    @dataclass
    class Coupon:
        code: str

    placed = DeclaredEvent("test.placed", subject="shop.Order", payload=Coupon)
    charge = make_owed(on=placed)
    for _ in range(50):
        an_order()
    known = an_order()
    with transaction.atomic():
        placed.emit(known, Coupon("x"))
    Delivery.objects.all().delete()

    stretch = reconciled(charge)

    assert (stretch.seen, stretch.done, stretch.truncated) == (51, 1, False)


def test_a_clock_that_was_put_back_keeps_no_walk_waiting(charge):
    Walk.objects.create(effect=charge.identity, tier=Tier.ALL, began_at=timezone.now() + 10 * DAY)

    assert walk.due_walk(charge, "default", Tier.ALL) is not None


def test_an_instant_of_a_whole_second_is_found_again():
    """SQLite compares instants as text: what the clock writes has to be spelled as Django asks."""
    if connection.vendor != "sqlite":
        pytest.skip("about SQLite")
    with connection.cursor() as cursor:
        sql = now_sql(connection).replace("'now'", "'2026-11-28 12:00:00.000'")
        cursor.execute(f"SELECT {sql}", ())

        assert cursor.fetchone() == ("2026-11-28 12:00:00",)
        assert connection.ops.adapt_datetimefield_value(
            datetime(2026, 11, 28, 12, tzinfo=UTC)
        ) == "2026-11-28 12:00:00"  # fmt: skip


def test_what_is_put_off_counts_for_no_backlog(charge, settings):
    """A release that was rolled back left a thousand rows that nobody knows."""
    settings.RELIABLE_EFFECTS = {"RECONCILE_BACKLOG": 1}
    with transaction.atomic():
        charge.promise(an_order())
    Delivery.objects.update(hints=0, look_at=timezone.now() + HOUR)
    an_order()

    assert reconciled(charge).done == 1


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        (lambda: list(Order.objects.all()), "returns a list"),
        (LedgerEntry.objects.all, "is about shop.LedgerEntry, and the effect about shop.Order"),
        (lambda: Order.objects.all()[:10], "is sliced"),
        (lambda: Order.objects.union(Order.objects.all()), "is sliced, a union"),
        (lambda: Order.objects.values_list("pk", flat=True), "or of values"),
        (lambda: Order.objects.distinct("status"), "DISTINCT ON"),
    ],
)
def test_a_query_of_another_shape_is_refused_by_name(make_owed, query, problem):
    """About another model it would charge orders for what the ledger says."""
    charge = make_owed(query=query)
    an_order()

    with pytest.raises(TypeError, match=f"The owed query of '{charge.name}' .*{problem}"):
        found_in(charge)


def test_a_query_in_another_order_is_walked_to_its_end(make_owed, monkeypatch):
    monkeypatch.setattr(owing, "CHUNK", 2)
    charge = make_owed(query=lambda: Order.objects.order_by("-placed_at").reverse())
    orders = [an_order() for _ in range(5)]

    assert len(found_in(charge)) == len(orders)


# Events


def test_the_event_of_another_debt_is_not_taken(make_owed):
    """July's event has July's payload, and has long expired."""
    invoice = make_owed(expires_after=7 * DAY, owed={"debt": lambda _: "2026-08"})
    order = an_order(DAY)
    an_event(order, name=invoice.name, emitted_at=timezone.now() - 30 * DAY)

    reconciled(invoice)
    carry_out_all()

    assert the_delivery(invoice, order).state == State.SUCCEEDED


def test_a_debt_that_would_have_expired_expires_after_all_is_lost(make_owed):
    """An event that is made up is as old as the debt, and no reason to do what is of no use now."""
    reminder = make_owed(expires_after=DAY)
    order = an_order(30 * DAY)

    reconciled(reminder)
    carry_out_all()

    row = the_delivery(reminder, order)
    assert (row.state, row.reason) == (State.SKIPPED, Reason.EXPIRED)


def test_what_is_owed_again_runs_although_its_event_has_expired(make_owed):
    charge = make_owed(expires_after=DAY)
    order = an_order(HOUR)
    ended(charge, order, 3 * DAY, state=State.SKIPPED, reason=Reason.NOT_NEEDED)
    OutboxEvent.objects.update(emitted_at=timezone.now() - 4 * DAY)

    reconciled(charge)
    carry_out_all()

    assert the_delivery(charge, order).state == State.SUCCEEDED


def test_what_is_owed_again_runs_although_its_payload_was_forgotten(charge):
    order = an_order()
    ended(charge, order, HOUR, state=State.SKIPPED, reason=Reason.NOT_NEEDED)
    forget(order, by="ann", why="a request")

    reconciled(charge)
    carry_out_all()

    assert the_delivery(charge, order).state == State.SUCCEEDED


# What came before


def test_an_old_poison_pill_hides_no_newer_debt(make_effect):
    """July's was set aside before August's began, and before there was an owed query."""
    invoice = make_effect(pay, name="test.invoice")
    order = an_order()
    with transaction.atomic():
        invoice.promise(order)
    Delivery.objects.update(
        state=State.POISONED, look_at=None, finished_at=order.placed_at - 30 * DAY
    )
    invoice.owed(since="placed_at", grace=timedelta(0), debt=lambda _: "2026-08")(Order.objects.all)

    assert found_in(invoice) == {order.pk: "unaccounted"}


def test_of_several_deliveries_the_one_that_ended_last_is_adopted(make_effect):
    charge = make_effect(pay, name="test.grown_twice")
    order = an_order()
    for state, ago in ((State.POISONED, 2 * DAY), (State.SUCCEEDED, DAY)):
        with transaction.atomic():
            charge.promise(order)
        Delivery.objects.filter(state=State.PENDING).update(
            state=state, look_at=None, finished_at=timezone.now() - ago
        )
    charge.owed(since="placed_at", grace=timedelta(0), debt=ONCE)(Order.objects.all)

    assert found_in(charge) == {order.pk: "contradiction"}


def test_what_was_owed_again_is_not_counted_as_a_contradiction(make_owed):
    """Cancelled and taken up again three times, and then done: the first rest is still an hour."""
    charge = make_owed(lambda *_: None, owed={"reopen": True})
    order = an_order()
    ended(charge, order, timedelta(minutes=2), notes={Notes.OWED_AGAIN: 3})

    assert reconciled(charge).done == 0
    with moved(HOUR):
        assert reconciled(charge).done == 1


# Coverage


def test_what_is_reopened_and_succeeds_again_is_counted_once(make_owed, monkeypatch):
    monkeypatch.setattr(coverage, "_SETTLED", -30 * DAY)
    charge = make_owed(lambda *_: None, owed={"reopen": True})
    ended(charge, an_order(), 2 * HOUR)
    coverage.follow("default", TURN)

    reconciled(charge)
    carry_out_all()
    coverage.follow("default", TURN)

    assert sum(row.in_time + row.late for row in Coverage.objects.all()) == 1


def test_the_end_of_a_walk_and_the_count_of_what_is_done_go_by_day(charge):
    """In the order of the table they deadlocked, and the walk failed."""
    if connection.vendor == "sqlite":
        pytest.skip("one writer at a time")
    days = [date(2026, 1, 3), date(2026, 1, 2), date(2026, 1, 1)]
    for day in days:
        Coverage.objects.create(effect=charge.identity, day=day)
    holds, ended_, errors = Event(), Event(), []

    def follow() -> None:
        try:
            with transaction.atomic():
                coverage._add("default", {(charge.identity, days[2]): {"in_time": 1}})
                holds.set()
                ended_.wait(1)  # it cannot end before we do
                coverage._add("default", {(charge.identity, days[0]): {"in_time": 1}})
        except OperationalError as error:
            errors.append(error)
        finally:
            connections.close_all()

    follower = Thread(target=follow)
    follower.start()
    assert holds.wait(10)
    coverage.note_standing(charge, "default", {"2026-01-01": {"poisoned": 1}}, None)
    ended_.set()
    follower.join(20)

    assert errors == []
    row = Coverage.objects.get(day=days[2])
    assert (row.in_time, row.poisoned) == (1, 1)
