"""A walk is bounded, goes on where it was, and one that fails keeps no other from its turn."""

from __future__ import annotations

import logging
from datetime import timedelta
from time import monotonic

import pytest
from django.utils import timezone

from reliable_effects.clock import moved
from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Delivery, Sweep
from reliable_effects.outbox.sweeps import sweep, sweep_all
from reliable_effects.reconcile import owing, sweeps, walk
from reliable_effects.reconcile.models import Tier, Walk
from reliable_effects.reconcile.sweeps import (
    RECONCILE,
    RECONCILE_ALL,
    reconcile,
    reconcile_all,
)
from tests.outbox.conftest import poisoned_delivery
from tests.shop.models import Order

from .conftest import DAY, HOUR, an_order, found_in, reconciled

pytestmark = pytest.mark.django_db(transaction=True)

TURN = Turn(since_last=None)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(owing, "CHUNK", 3)


@pytest.mark.parametrize("tier", [Tier.RECENT, Tier.ALL])
def test_every_row_is_seen_once_however_many_chunks_it_takes(charge, tier):
    """Also those that began to owe in the same instant."""
    orders = [an_order() for _ in range(10)]
    Order.objects.update(placed_at=orders[0].placed_at)

    stretch = reconciled(charge, tier)

    assert stretch.seen == len(orders)
    assert Delivery.objects.count() == len(orders)


@pytest.mark.parametrize("tier", [Tier.RECENT, Tier.ALL])
def test_a_walk_goes_on_where_its_turn_ended(charge, tier):
    """Time is over after each chunk; nothing is seen twice, and nothing left out."""
    orders = [an_order(HOUR + timedelta(seconds=n)) for n in range(8)]
    turns = []

    while not turns or turns[-1].truncated:
        due = walk.due_walk(charge, "default", tier)
        turns.append(walk.go_on(charge, "default", due, monotonic() - 1))

    row = Walk.objects.get(tier=tier)
    assert [turn.seen for turn in turns] == [3, 3, 2, 0]
    assert (row.seen, row.promised, row.found) == (8, 8, {"unaccounted": 8})
    assert (row.is_under_way, row.ended_at is not None) == (False, True)
    assert Delivery.objects.count() == len(orders)


def test_a_walk_that_was_killed_after_it_promised_promises_nothing_twice(charge):
    """The place it had come to was not noted yet."""
    an_order()
    reconciled(charge)
    Walk.objects.update(is_under_way=True, place=None, ended_at=None)

    due = walk.due_walk(charge, "default", Tier.ALL)
    stretch = walk.go_on(charge, "default", due, monotonic() + 60)

    assert (stretch.seen, stretch.done) == (1, 0)
    assert Delivery.objects.count() == 1


def test_a_walk_that_another_has_ended_writes_nothing_more(charge):
    """Two at once are two who look; the slower one must not end, or move, the next walk."""
    an_order()
    slow = walk.due_walk(charge, "default", Tier.ALL)
    walk.go_on(charge, "default", walk.due_walk(charge, "default", Tier.ALL), monotonic() + 60)
    Walk.objects.update(began_at=None)
    following = walk.due_walk(charge, "default", Tier.ALL)

    walk.go_on(charge, "default", slow, monotonic() + 60)

    row = Walk.objects.get()
    assert (row.is_under_way, row.began_at) == (True, following.began_at)
    assert (row.seen, row.place) == (0, None)


def test_the_hourly_walk_sees_what_began_lately_and_the_daily_one_everything(charge):
    old, new = an_order(10 * DAY), an_order(HOUR)

    assert found_in(charge, Tier.RECENT).keys() == {new.pk}
    assert found_in(charge, Tier.ALL).keys() == {old.pk, new.pk}


def test_what_does_not_know_since_when_it_owes_is_seen_by_the_daily_walk(make_owed):
    """NULL is in no window, and must not be forgotten for ever."""
    charge = make_owed(query=Delivery.objects.all, owed={"since": "finished_at"})
    charge.own_event.subject = "reliable_effects.Delivery"
    row = poisoned_delivery(finished_at=None)

    (seen,) = found_in(charge, Tier.ALL)

    assert seen == row.pk


@pytest.mark.usefixtures("charge")
def test_a_walk_begins_once_a_period():
    an_order()

    reconcile(using := "default", TURN)
    again = reconcile(using, TURN)
    with moved(HOUR):
        later = reconcile(using, TURN)

    assert (again.seen, later.seen) == (0, 1)


def test_it_promises_few_at_first_and_then_up_to_its_limit(charge, settings, monkeypatch):
    """Ten, then twice as many: a partner that was away for days is not run over."""
    monkeypatch.setattr(owing, "CHUNK", 100)
    settings.RELIABLE_EFFECTS = {"RECONCILE_LIMIT": 15}
    for _ in range(45):
        an_order()
    turns = []

    while not turns or turns[-1].truncated:
        due = walk.due_walk(charge, "default", Tier.ALL)
        turns.append(walk.go_on(charge, "default", due, monotonic() + 60))
        Delivery.objects.update(due_at=timezone.now() + DAY)  # workers are quick

    assert [turn.done for turn in turns] == [10, 15, 15, 5]


def test_nothing_is_promised_while_too_much_waits(charge, settings):
    """Fresh work comes first."""
    settings.RELIABLE_EFFECTS = {"RECONCILE_BACKLOG": 4}
    for _ in range(6):
        an_order()

    first, second = reconciled(charge), walk.due_walk(charge, "default", Tier.ALL)
    then = walk.go_on(charge, "default", second, monotonic() + 60)

    assert (first.done, first.truncated) == (4, True)
    assert (then.done, then.truncated) == (0, True)


def test_a_query_that_fails_keeps_no_other_from_its_turn(make_owed, caplog):
    """What it raised stays on its row, and the next walk tries again."""
    caplog.set_level(logging.ERROR, "reliable_effects")

    def broken():
        raise RuntimeError("no such report")

    make_owed(query=broken, name="test.broken")
    whole = make_owed(name="test.whole")
    an_order()

    swept = reconcile("default", TURN)

    assert swept.done == 1
    assert Delivery.objects.get().effect == whole.name
    row = Walk.objects.get(effect="test.broken")
    assert (row.problem, row.is_under_way) == ("RuntimeError: no such report", False)
    assert "could not reconcile test.broken" in caplog.text


def test_a_query_that_the_database_refuses_keeps_no_other_from_its_turn(make_owed):
    make_owed(query=lambda: Order.objects.extra(where=["no_such_column = 1"]), name="test.a")
    make_owed(name="test.b")
    an_order()

    assert reconcile("default", TURN).done == 1


def test_a_long_walk_keeps_no_other_from_its_turn(make_owed):
    """Who was looked at longest ago comes first."""
    for name in "abc":
        make_owed(name=f"test.{name}")
    for _ in range(7):
        an_order()

    order = []
    for _ in range(4):  # each turn is over after one chunk of one effect
        first = sweeps._longest_waiting_first("default", Tier.ALL)[0]
        order.append(first.name)
        due = walk.due_walk(first, "default", Tier.ALL)
        walk.go_on(first, "default", due, monotonic() - 1)

    assert order == ["test.a", "test.b", "test.c", "test.a"]


@pytest.mark.usefixtures("charge")
def test_workers_and_beat_reconcile_when_the_turn_has_come():
    """It needs neither a broker nor beat: it is a sweep like the others."""
    an_order()

    swept = sweep_all()

    assert swept["default/reconcile"].done == 1
    assert {RECONCILE, RECONCILE_ALL} <= {row.name for row in Sweep.objects.all()}
    assert sweep("default", RECONCILE) is None


@pytest.mark.usefixtures("charge")
def test_what_was_cut_short_goes_on_soon(settings):
    settings.RELIABLE_EFFECTS = {"RECONCILE_LIMIT": 1}
    for _ in range(2):
        an_order()

    first = sweep("default", RECONCILE_ALL)
    with moved(timedelta(seconds=11)):
        second = sweep("default", RECONCILE_ALL)

    assert (first.done, first.truncated, second.done) == (1, True, 1)


@pytest.mark.usefixtures("charge")
def test_effects_whose_subjects_live_elsewhere_are_not_asked_here(settings):
    an_order()
    settings.DATABASE_ROUTERS = ["tests.reconcile.test_walks.NoShopHere"]

    assert reconcile_all("default", TURN).seen == 0


class NoShopHere:
    """The shop's tables are in another database."""

    def allow_migrate(self, _db, app_label, **_):
        return app_label != "shop"

    def db_for_write(self, model, **_):
        return "other" if model._meta.app_label == "shop" else None


def test_a_walk_takes_few_statements_for_many_rows(
    charge, monkeypatch, django_assert_max_num_queries
):
    """For each chunk its rows, their deliveries, and the place; nothing for each row."""
    monkeypatch.setattr(owing, "CHUNK", 100)
    for _ in range(100):
        an_order()
    for _ in range(5):
        reconciled(charge)

    with django_assert_max_num_queries(25):
        assert reconciled(charge).seen == 100
