"""`assert_crash_safe()` passes what may be killed anywhere, and says where the others may not."""

from __future__ import annotations

import random
import sys
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from reliable_effects import ONCE, Snooze, effect
from reliable_effects.models import Delivery, OutboxEvent
from reliable_effects.testing import assert_crash_safe
from tests.shop.effects import charge_card, count_points, send_receipt
from tests.shop.events import order_placed, order_seen
from tests.shop.models import LedgerEntry, Order

pytestmark = pytest.mark.usefixtures("scratch")
in_both_worlds = pytest.mark.parametrize(
    "world",
    [
        pytest.param("TestCase", marks=pytest.mark.django_db),
        pytest.param("TransactionTestCase", marks=pytest.mark.django_db(transaction=True)),
    ],
    indirect=True,
)


@pytest.fixture
def world(request):
    return getattr(request, "param", "TestCase")


@pytest.fixture
def order(world, request, django_db_setup):  # noqa: ARG001  # says that it takes a database
    request.getfixturevalue("transactional_db" if world == "TransactionTestCase" else "db")
    return Order.objects.create()


class Partner:
    """A shop's partner that knows repeated calls by their key, or does not."""

    def __init__(self, *, knows_keys: bool = True) -> None:
        self.knows_keys = knows_keys
        self.done: dict[str, str] = {}

    def charge(self, key: str) -> str:
        if not self.knows_keys:
            key += str(len(self.done))
        return self.done.setdefault(key, f"charge {len(self.done)}")

    def charges(self) -> set[str]:
        return set(self.done)


def entry(order: Order, ctx, what: str = "done") -> LedgerEntry:
    return LedgerEntry.objects.create(order_pk=order.pk, what=what, key=ctx.idempotency_key)


@in_both_worlds
def test_an_effect_that_looks_before_it_writes_passes(order):
    @effect("t.safe", on=order_seen)
    def safe(order, ctx):
        LedgerEntry.objects.get_or_create(
            key=ctx.idempotency_key, defaults={"order_pk": order.pk, "what": "done"}
        )

    assert_crash_safe(safe, order)


@in_both_worlds
def test_an_effect_that_writes_twice_is_caught_and_told_where(order):
    """Killed after the INSERT and before its completion, it inserts again."""

    @effect("t.twice", on=order_seen)
    def twice(order, ctx):
        entry(order, ctx)

    with pytest.raises(AssertionError) as raised:
        assert_crash_safe(twice, order)
    message = str(raised.value)

    assert "t.twice is not crash-safe" in message
    assert "after this query was applied: INSERT INTO" in message
    assert "shop.LedgerEntry, too many" in message
    assert "what='done'" in message


@in_both_worlds
def test_the_same_effect_passes_as_atomic(order):
    """Its writes and its completion are one transaction."""

    @effect("t.once", on=order_seen, atomic=True)
    def once(order, ctx):
        entry(order, ctx)
        entry(order, ctx, "done too")

    assert_crash_safe(once, order)


def test_two_writes_that_belong_together_are_caught_apart(order):
    """The first stands, and the second run takes it for all of it."""

    @effect("t.half", on=order_seen)
    def half(order, ctx):
        if not LedgerEntry.objects.filter(key=ctx.idempotency_key).exists():
            entry(order, ctx, "first")
            entry(order, ctx, "second")

    with pytest.raises(AssertionError, match=r"shop\.LedgerEntry, missing: .*what='second'"):
        assert_crash_safe(half, order)


@in_both_worlds
def test_two_writes_in_one_transaction_pass(order):
    @effect("t.whole", on=order_seen)
    def whole(order, ctx):
        with transaction.atomic():
            if not LedgerEntry.objects.filter(key=ctx.idempotency_key).exists():
                LedgerEntry.objects.bulk_create(
                    LedgerEntry(order_pk=order.pk, what=what, key=ctx.idempotency_key)
                    for what in ("first", "second")
                )

    assert_crash_safe(whole, order)


def test_it_is_killed_between_two_calls_to_the_outside(order):
    """No query stands between them, so only the lines can tell."""
    first, second = Partner(), Partner()

    @effect("t.calls", on=order_seen)
    def calls(_order, ctx):
        if ctx.idempotency_key not in first.done:
            first.charge(ctx.idempotency_key)
            second.charge(ctx.idempotency_key)

    # Each trial meets partners that know nothing of the trials before it.
    def outside():
        found = first.charges() == second.charges()
        first.done.clear()
        second.done.clear()
        return found

    with pytest.raises(AssertionError, match=r"before line \d+ of .*: second\.charge\("):
        assert_crash_safe(calls, order, observe=outside)


def test_an_effect_that_hands_on_its_key_passes(order):
    partner = Partner()

    @effect("t.charge", on=order_seen)
    def charge(order, ctx):
        Order.objects.filter(pk=order.pk).update(charge_id=partner.charge(ctx.idempotency_key))

    assert_crash_safe(charge, order, observe=partner.charges)


def test_a_partner_that_is_charged_twice_is_seen_by_observe(order):
    partner = Partner(knows_keys=False)

    @effect("t.charge", on=order_seen)
    def charge(_order, ctx):
        partner.charge(ctx.idempotency_key)

    with pytest.raises(AssertionError, match="outside, after one run"):
        assert_crash_safe(charge, order, observe=partner.charges)


def test_a_second_run_that_fails_is_told(order):
    """It found its own traces, and took them for somebody else's."""

    @effect("t.surprised", on=order_seen)
    def surprised(order, ctx):
        if LedgerEntry.objects.filter(key=ctx.idempotency_key).exists():
            raise FileExistsError("who was here?")
        entry(order, ctx)

    with pytest.raises(AssertionError, match=r"FileExistsError: who was here\?"):
        assert_crash_safe(surprised, order)


def test_an_effect_that_fails_without_being_killed_raises_its_own_error(order):
    @effect("t.broken", on=order_seen)
    def broken(_order, _ctx):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        assert_crash_safe(broken, order)


def test_clocks_and_random_tokens_may_differ(order):
    """They differ between two runs that nobody killed, too."""

    @effect("t.token", on=order_seen, atomic=True)
    def token(order, ctx):
        entry(order, ctx, str(random.random()))
        Order.objects.filter(pk=order.pk).update(placed_at=timezone.now())

    assert_crash_safe(token, order)


def test_a_token_that_is_missing_is_a_difference(order):
    @effect("t.token", on=order_seen)
    def token(order, ctx):
        written, is_new = LedgerEntry.objects.get_or_create(
            key=ctx.idempotency_key, defaults={"order_pk": order.pk, "what": "begun"}
        )
        if is_new:
            Order.objects.filter(pk=order.pk).delete()
            entry(order, ctx, str(written.pk))

    with pytest.raises(AssertionError, match="not crash-safe"):
        assert_crash_safe(token, order)


def test_what_an_effect_emits_is_emitted_once(order):
    """The library sees to it; a once= that changes with every run takes it away."""

    @effect("t.emits", on=order_seen)
    def emits(order, _ctx):
        with transaction.atomic():
            order_placed.emit(order)

    @effect("t.emits_anew", on=order_seen)
    def emits_anew(order, _ctx):
        with transaction.atomic():
            order_placed.emit(order, once=str(random.random()))

    assert_crash_safe(emits, order)
    with pytest.raises(AssertionError, match=r"emitted events, too many: .*shop\.order_placed"):
        assert_crash_safe(emits_anew, order)


def test_what_an_effect_schedules_is_scheduled_once(order):
    """By its key; a key that changes with every run takes it away."""

    @effect("t.schedules", on=order_seen)
    def schedules(order, _ctx):
        with transaction.atomic():
            order_placed.schedule(order, at=timezone.now() + timedelta(days=30), key="a")

    @effect("t.schedules_anew", on=order_seen)
    def schedules_anew(order, _ctx):
        with transaction.atomic():
            key = str(random.random())
            order_placed.schedule(order, at=timezone.now() + timedelta(days=30), key=key)

    assert_crash_safe(schedules, order)
    with pytest.raises(AssertionError, match=r"scheduled jobs, too many: .*shop\.order_placed"):
        assert_crash_safe(schedules_anew, order)


def test_verify_is_asked_before_it_runs_again(order):
    """So a partner without keys is charged once, as on a worker."""
    partner = Partner(knows_keys=False)
    sent = []

    def was_charged(_order, ctx):
        return ctx.idempotency_key in sent

    @effect("t.charge", on=order_seen, verify=was_charged)
    def charge(order, ctx):
        partner.charge(order.status), sent.append(ctx.idempotency_key)

    def outside():
        found = len(partner.done)
        partner.done.clear()
        sent.clear()
        return found

    assert_crash_safe(charge, order, observe=outside)


def test_the_owed_query_is_asked_before_it_runs_again(order):
    @effect("t.paid", on=order_seen)
    def paid(order, ctx):
        with transaction.atomic():
            entry(order, ctx)
            Order.objects.filter(pk=order.pk).update(status="paid")

    @paid.owed(since="placed_at", grace=timedelta(minutes=1), debt=ONCE)
    def unpaid():
        return Order.objects.filter(status="placed")

    assert_crash_safe(paid, order)


def test_a_snooze_is_waited_for(order):
    @effect("t.snoozes", on=order_seen)
    def snoozes(order, ctx):
        if order.status == "placed":
            Order.objects.filter(pk=order.pk).update(status="ready")
            raise Snooze(timedelta(hours=1))
        Order.objects.filter(pk=order.pk).update(charge_id=ctx.idempotency_key)

    assert_crash_safe(snoozes, order)


def test_an_effect_that_may_run_only_once_is_tried_all_the_same(order):
    """What a redrive would do is the question."""

    @effect("t.single", on=order_seen, max_attempts=1, atomic=True)
    def single(order, ctx):
        entry(order, ctx)

    assert_crash_safe(single, order)


def test_a_finally_of_the_dead_writes_nothing(order):
    """A killed process has none."""

    @effect("t.tidy", on=order_seen)
    def tidy(order, ctx):
        try:
            Order.objects.filter(pk=order.pk).update(status="busy")
            entry(order, ctx)
        finally:
            LedgerEntry.objects.filter(key=ctx.idempotency_key)[1:].count()
            Order.objects.filter(pk=order.pk).update(status="tidy")

    with pytest.raises(AssertionError, match="too many"):
        assert_crash_safe(tidy, order)


def test_our_own_effects_are_crash_safe(order):
    assert_crash_safe(count_points, order)


@in_both_worlds
def test_nothing_is_left_behind(order):
    """The test goes on as if nothing had been tried."""
    tracer = sys.gettrace()
    assert_crash_safe(count_points, order)

    assert not LedgerEntry.objects.exists()
    assert not OutboxEvent.objects.exists()
    assert not Delivery.objects.exists()
    assert sys.gettrace() is tracer


def test_a_delivery_that_waits_is_the_one_that_is_tried(order):
    """Its payload is what was emitted."""
    with transaction.atomic():
        order_placed.emit(order)

    with pytest.raises(AssertionError, match="what='receipt'"):
        assert_crash_safe(send_receipt, order)
    assert Delivery.objects.get(effect="shop.send_receipt").attempts == 0


def test_an_effect_that_is_not_needed_cannot_be_tried(order):
    """A check that checks nothing must not pass."""
    Order.objects.update(status="cancelled")

    with pytest.raises(ValueError, match=r"shop\.charge_card has nothing to do"):
        assert_crash_safe(charge_card, order)
