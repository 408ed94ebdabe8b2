"""What nobody has looked at in time is hinted again: marked first, bounded, queue by queue."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest
from django.db import connection, connections

from reliable_effects.clock import DbNow
from reliable_effects.outbox import low_water
from reliable_effects.outbox.dispatch import put_back
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.relay import relay, take
from reliable_effects.outbox.states import Flag, State
from tests.outbox.conftest import (
    carry_out,
    pending_delivery,
    poisoned_delivery,
    raising,
    running_delivery,
    succeeded_delivery,
    uncertain_delivery,
)
from tests.sweeps import transport
from tests.sweeps.conftest import DAY, HOUR, SECOND, at_once, from_now, locked, refusing
from tests.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("_transport")]

ABOUT = 5 * SECOND  # how far a slow machine may be behind


def many(count: int, **columns) -> list[int]:
    return [pending_delivery(**columns).pk for _ in range(count)]


# Which rows


def test_a_row_that_nobody_looked_at_is_hinted():
    """Its hint was lost, or never sent: the row is the promise."""
    row = pending_delivery()

    swept = relay("default")

    assert transport.hints == [("effects", [row.pk])]
    assert (swept.seen, swept.done, swept.truncated) == (1, 1, False)


def test_what_is_not_due_or_not_waiting_is_left_alone():
    """A snoozed row wakes nobody, and what ended, runs or waits for a person is no work."""
    pending_delivery(due_at=DbNow() + DAY, look_at=DbNow() + DAY)
    pending_delivery(look_at=DbNow() + 5 * SECOND, hints=1)
    running_delivery()
    succeeded_delivery()
    poisoned_delivery()
    uncertain_delivery(look_at=None)
    before = list(Delivery.objects.order_by("pk").values())

    swept = relay("default")

    assert transport.hints == []
    assert swept.seen == 0
    assert list(Delivery.objects.order_by("pk").values()) == before


def test_what_is_to_be_verified_is_hinted_like_the_rest():
    """To ask what became of it is work, not sweeping."""
    row = uncertain_delivery()

    relay("default")

    assert transport.hinted_ids() == [row.pk]


def test_the_longest_waiting_comes_first(settings):
    """Else a stream of new rows could keep old ones waiting for ever."""
    settings.RELIABLE_EFFECTS |= {"RELAY_OUTSTANDING": 1}
    pending_delivery(look_at=DbNow() - SECOND)
    oldest = pending_delivery(look_at=DbNow() - HOUR)

    relay("default")

    assert transport.hinted_ids() == [oldest.pk]


# When it looks again


@pytest.mark.parametrize(
    ("hints", "seconds"), [(0, 10), (1, 20), (2, 40), (5, 320), (6, 600), (31, 600), (32767, 600)]
)
def test_each_hint_makes_the_next_one_more_patient(hints, seconds):
    """Doubling keeps a backlog from filling the broker; ten minutes bound what a lost hint costs."""
    row = pending_delivery(hints=hints)

    relay("default")

    assert timedelta(seconds=seconds) - ABOUT < from_now(row) <= timedelta(seconds=seconds)
    assert row.hints > min(hints, 30)


def test_a_marked_row_is_not_hinted_again_in_its_grace():
    """A hint on its way is no lost hint."""
    pending_delivery()
    relay("default")

    relay("default")

    assert len(transport.hints) == 1


def test_a_claim_ends_the_count(make_effect):
    """Whoever was claimed was reached: its next hint is a first one."""
    row = pending_delivery(make_effect(raising(OSError())), hints=5)

    carry_out(row)

    assert (row.state, row.hints) == (State.PENDING, 0)


@pytest.mark.fault("two relays at once", rows="W19")
def test_two_relays_at_once_hint_no_row_twice():
    """Every worker sweeps, and no lock says whose turn it is."""
    ids = many(300)

    at_once(2, lambda: relay("default"))

    assert sorted(transport.hinted_ids()) == ids


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks no rows")
def test_what_another_relay_is_taking_is_passed_over():
    """It has not committed yet: to wait for it would only be to hint the same rows after it."""
    held, other = pending_delivery(), pending_delivery()

    with locked(held):
        found = taken()

    assert found == [other.pk]


# How they are sent


def test_rows_go_out_in_hints_of_fifty_and_convicts_alone():
    """What died while it ran may die again, and must take nobody with it."""
    together = many(60)
    alone = many(2, flags=Flag.BEGUN | Flag.ALONE)

    relay("default")

    hints = sorted((ids for _, ids in transport.hints), key=len)
    assert hints[:2] == [[alone[0]], [alone[1]]]
    assert [len(ids) for ids in hints[2:]] == [10, 50]
    assert sorted(transport.hinted_ids()) == sorted(together + alone)


def test_a_refused_hint_leaves_its_rows_as_they_were():
    """Nobody was told, so nobody is to be waited for."""
    rows = [pending_delivery(), pending_delivery(hints=3)]
    transport.refused.add("effects")

    swept = relay("default")

    assert [from_now(row) <= timedelta(0) for row in rows] == [True, True]
    assert [row.hints for row in rows] == [0, 3]
    assert (swept.done, swept.truncated) == (0, True)


def test_what_is_claimed_meanwhile_is_not_put_back(monkeypatch):
    """The hint was heard although its sender did not hear so: the row is its worker's."""
    row = pending_delivery()

    def hear_but_fail(_queue, _hint):
        Delivery.objects.filter(pk=row.pk).update(
            state=State.RUNNING, look_at=None, hints=0, claim_token=7, lease_expires_at=DbNow()
        )
        connections.close_all()  # those of the publisher's thread, which lives on
        raise ConnectionResetError

    monkeypatch.setattr(transport, "send", hear_but_fail)
    relay("default")

    row.refresh_from_db()
    assert (row.state, row.claim_token, row.look_at) == (State.RUNNING, 7, None)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks no rows")
def test_what_somebody_holds_is_not_waited_for():
    """A request that promises many debts again holds them for long, and in an order of its own."""
    held, other = pending_delivery(hints=1), pending_delivery(hints=1)

    with locked(held):
        put_back("default", [held.pk, other.pk])

    assert sorted(Delivery.objects.values_list("pk", "hints")) == [(held.pk, 1), (other.pk, 0)]


@pytest.mark.fault("the broker is down when the relay's turn comes", rows="T2")
def test_while_the_broker_is_down_nothing_is_marked():
    """Rows that wait for a hint which was never sent would wait for nothing."""
    row = pending_delivery(hints=1)
    transport.is_down = True

    swept = [relay("default"), relay("default")]

    assert [one.truncated for one in swept] == [True, True]
    assert from_now(row) <= timedelta(0)
    assert row.hints == 1


@pytest.mark.fault("the broker was down when the relay's turn came", rows="T2")
def test_when_the_broker_is_back_the_relay_finds_out_by_itself(settings):
    """Where nobody emits, nobody else asks."""
    settings.RELIABLE_EFFECTS |= {"PUBLISH_REST": timedelta(milliseconds=50)}
    row = pending_delivery()
    transport.is_down = True
    relay("default")
    transport.is_down = False

    eventually(lambda: relay("default").done)

    assert transport.hinted_ids() == [row.pk]


# One queue and another


def test_a_queue_that_is_refused_stops_no_other():
    """One queue declared wrongly is one queue's trouble."""
    many(3, queue="a")
    sound = many(2, queue="b")
    transport.refused.add("a")

    swept = relay("default")

    assert transport.hints == [("b", sound)]
    assert swept.truncated


def test_a_queue_whose_rows_cannot_be_written_stops_no_other(caplog):
    """Whatever is wrong with its rows, those of the others are due."""
    many(1, queue="a")
    sound = many(1, queue="b")

    with refusing("reliable_effects_delivery", "UPDATE", "OLD.queue = 'a'"):
        swept = relay("default")

    assert transport.hints == [("b", sound)]
    assert swept.truncated
    assert "'a'" in caplog.text


@pytest.mark.fault("a backlog is more than may be hinted at once", rows="W16")
def test_no_more_is_outstanding_than_the_budget(settings):
    """A backlog of a million rows must not become a broker of a million messages."""
    settings.RELIABLE_EFFECTS |= {"RELAY_OUTSTANDING": 7}
    many(3, hints=1, look_at=DbNow() + 5 * SECOND)
    many(10)

    swept = relay("default")

    assert len(transport.hinted_ids()) == 4
    assert swept.truncated


def test_a_queue_with_its_budget_used_up_still_gets_one(settings):
    """What is outstanding may be lost: one row a tick finds out."""
    settings.RELIABLE_EFFECTS |= {"RELAY_OUTSTANDING": 3}
    many(5, hints=1, look_at=DbNow() + 5 * SECOND)
    many(4)

    relay("default")

    assert len(transport.hinted_ids()) == 1


def test_one_queue_does_not_use_up_the_budget_of_another(settings):
    """Reports that nobody fetches must not keep payments waiting."""
    settings.RELIABLE_EFFECTS |= {"RELAY_OUTSTANDING": 2}
    many(5, queue="reports", hints=1, look_at=DbNow() + 5 * SECOND)
    many(2, queue="payments")

    relay("default")

    assert [queue for queue, ids in transport.hints for _ in ids] == ["payments"] * 2


def test_a_long_line_goes_out_in_one_sweep():
    """A tick is two seconds: what may go out goes out now, whatever the size of one step."""
    ids = many(700)

    swept = relay("default")

    assert sorted(transport.hinted_ids()) == ids
    assert (swept.done, swept.truncated) == (700, False)


# The low-water mark


@pytest.fixture
def seconds(monkeypatch) -> list[float]:
    """The process's clock, moved by hand."""
    now = [1000.0]
    monkeypatch.setattr(low_water, "monotonic", lambda: now[0])
    return now


def taken(limit: int = 2) -> list[int]:
    return [row.id for row in take("default", "effects", limit)]


def test_a_row_put_in_below_the_mark_is_found_within_half_a_minute(seconds):
    """Its transaction was long, and its time lies before what the last scan has seen."""
    ids = [pending_delivery(look_at=DbNow() - n * SECOND).pk for n in (60, 50, 40, 30, 20, 10)]
    first = taken()
    late = pending_delivery(look_at=DbNow() - HOUR).pk

    by_the_mark = taken()
    seconds[0] += 31
    full = taken()

    assert (first, by_the_mark) == (ids[:2], ids[2:4])
    assert full == [late, ids[4]]


def test_a_scan_that_finds_little_is_followed_by_a_full_one():
    """Then there is time to begin at the beginning."""
    for n in (30, 20, 10):
        pending_delivery(look_at=DbNow() - n * SECOND)
    taken()
    late = pending_delivery(look_at=DbNow() - HOUR).pk
    taken()

    assert taken() == [late]


def test_where_a_scan_from_the_beginning_is_dear_it_is_made_now_and_then(seconds, monkeypatch):
    """An old snapshot keeps what is dead in front; and nobody may wait long for what commits late."""
    monkeypatch.setattr(low_water, "_CHEAP", 0.02)
    monkeypatch.setattr("reliable_effects.outbox.relay.monotonic", count(step=0.05).__next__)
    pending_delivery(look_at=DbNow() - SECOND)
    taken()
    late = pending_delivery(look_at=DbNow() - HOUR).pk

    at_once = taken()
    seconds[0] += 20 * 0.05
    later = taken()

    assert (at_once, later) == ([], [late])


def test_the_marks_of_two_queues_are_apart():
    """A mark says how far one line was walked, and nothing of another."""
    for n in (30, 20, 10):
        pending_delivery(look_at=DbNow() - n * SECOND)
    taken()
    other = pending_delivery(queue="payments", look_at=DbNow() - HOUR)

    assert [row.id for row in take("default", "payments", 2)] == [other.pk]
