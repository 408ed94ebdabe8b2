"""Owed against done, by effect and day, in rows small enough for a page that everyone opens."""

from __future__ import annotations

from datetime import UTC, timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from reliable_effects.models import Coverage
from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.states import State
from reliable_effects.reconcile import coverage
from reliable_effects.reconcile.models import Tier, Walk
from tests.sweeps.conftest import at_once, locked

from .conftest import DAY, HOUR, an_order, carry_out_all, ended, reconciled

pytestmark = pytest.mark.django_db(transaction=True)

TURN = Turn(since_last=None)


@pytest.fixture(autouse=True)
def _counted_at_once(monkeypatch):
    monkeypatch.setattr(coverage, "_SETTLED", -HOUR)


def counted(**columns):
    return {name: value for name, value in columns.items() if value}


def rows() -> dict[str, dict[str, int]]:
    names = ("in_time", "late", "unexpected", "missing", "waiting", "poisoned", "uncertain",
             "given_up", "contradicted")  # fmt: skip
    return {
        str(row.day): counted(**{name: getattr(row, name) for name in names})
        for row in Coverage.objects.order_by("day")
    }


def test_what_succeeds_within_the_grace_is_in_time_and_later_is_late(charge):
    now = timezone.now()
    for took in (timedelta(minutes=1), HOUR):
        row = ended(charge, an_order(timedelta(0)), timedelta(0))
        OutboxEvent.objects.filter(pk=row.event_id).update(emitted_at=row.finished_at - took)

    coverage.follow("default", TURN)

    counts = rows()
    assert sum(day.get("in_time", 0) for day in counts.values()) == 1
    assert sum(day.get("late", 0) for day in counts.values()) == 1
    assert Coverage.objects.since((now - 2 * DAY).date()).count() == len(counts)


def test_each_success_is_counted_once(charge, monkeypatch):
    """In batches, by sweeps that come again, and by two at once."""
    monkeypatch.setattr(coverage, "_BATCH", 2)
    for _ in range(5):
        ended(charge, an_order(timedelta(0)), timedelta(0))

    at_once(2, lambda: coverage.follow("default", TURN))
    again = coverage.follow("default", TURN)

    assert sum(row.in_time + row.late for row in Coverage.objects.all()) == 5
    assert again.seen == 0


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks no rows")
def test_a_sweep_that_was_frozen_while_it_counted_keeps_no_other_waiting(charge):
    """It holds the bookmark. The relay comes next in the thread of who would wait for it."""
    ended(charge, an_order(timedelta(0)), timedelta(0))
    coverage.follow("default", TURN)
    ended(charge, an_order(timedelta(0)), timedelta(0))

    with locked(Walk.objects.get(effect="", tier=Tier.DONE)):
        assert coverage.follow("default", TURN).truncated

    assert coverage.follow("default", TURN).seen == 1


def test_what_was_done_without_an_event_is_unexpected(charge):
    """Nothing says why it was done: somebody lost our rows, or forged one."""
    ended(charge, an_order(timedelta(0)), timedelta(0))
    OutboxEvent.objects.all().delete()

    coverage.follow("default", TURN)

    assert [row.unexpected for row in Coverage.objects.all()] == [1]


@pytest.mark.usefixtures("charge")
def test_effects_without_an_owed_query_are_passed_over(make_effect):
    other = make_effect()
    ended(other, an_order(timedelta(0)), timedelta(0))

    coverage.follow("default", TURN)

    assert not Coverage.objects.exists()


def test_what_nobody_had_promised_is_missing_on_the_day_since_which_it_is_owed(charge):
    order = an_order(3 * DAY)

    reconciled(charge)
    first = rows()
    carry_out_all()
    reconciled(charge)
    coverage.follow("default", TURN)

    day = str(order.placed_at.astimezone(UTC).date())
    assert first == {day: {"missing": 1, "waiting": 1}}
    assert rows() == {day: {"missing": 1, "late": 1}}, "it waits no more, and had been missing"


def test_what_stands_is_what_the_last_walk_saw(charge):
    order = an_order(3 * DAY)
    row = ended(charge, order, HOUR, state=State.POISONED, reason="REFUSED")
    reconciled(charge)
    before = rows()

    Delivery.objects.filter(pk=row.pk).update(state=State.CANCELLED, reason="")
    reconciled(charge)

    day = str(order.placed_at.astimezone(UTC).date())
    assert (before, rows()) == ({day: {"poisoned": 1}}, {day: {"given_up": 1}})


def test_expected_is_all_that_was_owed_since_that_day(charge):
    with transaction.atomic():
        charge.promise(an_order())
    an_order()
    reconciled(charge)
    carry_out_all()
    coverage.follow("default", TURN)
    reconciled(charge)

    known = Coverage.objects.of(charge.name).with_expected()

    assert sum(row.expected for row in known) == 2
