"""
A row that somebody's forgotten transaction holds: the console's sweeps go round it.

They share a thread with the relay and the rescue. PostgreSQL waits for a lock without any bound, and
a machine that is frozen in the middle of a step keeps its locks for hours.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection

from reliable_effects.clock import DbNow
from reliable_effects.console.groups.grouping import group
from reliable_effects.console.groups.models import FailureGroup
from reliable_effects.console.redriving import steps
from reliable_effects.console.redriving.models import Outcome, RedriveItem
from reliable_effects.console.rollups.models import RollupCursor
from reliable_effects.console.rollups.sweep import rollup
from reliable_effects.outbox import pausing, prune
from reliable_effects.outbox.forget import forget
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from tests.console.groups.conftest import REFUSED, TIMED_OUT, fingerprint_of, pill, the_group
from tests.console.redriving.conftest import begun, later, released, seen, swept
from tests.forgetting import forget_rows
from tests.outbox.conftest import carry_out, make_effect, pending_delivery, poisoned_delivery
from tests.shop.models import Order
from tests.sweeps.conftest import locked

__all__ = ["make_effect"]

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks no rows"),
]


@pytest.fixture(autouse=True)
def _this_process_remembers_nothing():
    forget_rows()
    yield
    forget_rows()


def test_an_operation_that_somebody_holds_is_left_for_the_next_turn():
    """Another sweeper may have been frozen in the middle of a step; the others go on."""
    poisoned_delivery()
    held, free = begun(), begun()

    with locked(held):
        swept()

    assert seen(held).gathered_at is None
    assert seen(free).gathered_at is not None
    swept()
    assert seen(held).gathered_at is not None


def test_a_delivery_that_somebody_holds_is_released_later_and_the_others_now():
    """It is not left alone for good: forgetting, pruning and grouping hold rows for moments."""
    rows = [poisoned_delivery() for _ in range(4)]
    operation = begun(canary=4)
    steps.step("default", operation.pk)

    with locked(rows[0]):
        swept()

    assert released(operation) == {row.pk for row in rows[1:]}
    assert seen(operation).left_alone == 0
    assert RedriveItem.objects.get(delivery=rows[0]).outcome == Outcome.WAITING
    Delivery.objects.filter(state=State.PENDING).update(
        state=State.SUCCEEDED, finished_at=DbNow(), look_at=None
    )
    with later(10):
        swept()
    assert released(operation) == {row.pk for row in rows}


def test_where_all_that_follow_are_held_the_operation_says_what_it_waits_for():
    """And takes no step after the other for nothing."""
    row = poisoned_delivery()
    operation = begun()
    steps.step("default", operation.pk)

    with locked(row):
        assert steps.step("default", operation.pk) is False

    assert released(operation) == set()
    assert "hold" in seen(operation).remark
    assert operation.ended_at is None


def test_a_group_that_somebody_holds_keeps_no_other_pill_from_its_group():
    """A person's remedy that is not committed."""
    old = pill(REFUSED)
    group("default")
    new, other = pill(REFUSED), pill(TIMED_OUT)

    with locked(the_group(REFUSED)):
        group("default")

    assert (fingerprint_of(old), fingerprint_of(new)) == (REFUSED, "")
    assert fingerprint_of(other) == TIMED_OUT
    group("default")
    assert fingerprint_of(new) == REFUSED
    assert FailureGroup.objects.get(fingerprint=REFUSED).total == 2


def test_a_group_that_somebody_holds_keeps_nobody_from_pruning_the_others(settings):
    """Its sample is not deleted without the group's copy of its text."""
    settings.RELIABLE_EFFECTS = {"RETENTION_BY_STATE": {"POISONED": timedelta(days=30)}}
    sample = pill(REFUSED)
    pill(TIMED_OUT)
    group("default")
    Delivery.objects.update(finished_at="2020-01-01T00:00Z")

    with locked(the_group(REFUSED)):
        prune.prune("default")

    assert set(Delivery.objects.all()) == {sample}
    prune.forget()  # as some hours later, when it begins anew
    prune.prune("default")
    assert not Delivery.objects.exists()
    assert the_group(REFUSED).sample_message == ""


def test_a_group_that_somebody_holds_is_left_by_who_forgets_and_told_of():
    """To wait would be without a bound; to say that all is forgotten would be a lie."""
    order = Order.objects.create()
    pill(REFUSED, subject=order)
    group("default")

    with locked(the_group(REFUSED)):
        told = forget(order, by="anna", why="asked")

    assert told.others["samples of failures"].left == 1
    assert not told.is_complete
    assert forget(order, by="anna", why="asked").is_complete
    assert the_group(REFUSED).sample_message == ""


def test_a_resumed_effect_comes_back_without_what_somebody_holds(make_effect):
    """A person waits for the page; and the rest of it comes by itself."""
    away = make_effect(name="shop.away")
    held, free = pending_delivery(away), pending_delivery(away)
    pausing.pause("shop.away", by="ada", why="the bank is away")
    carry_out(held, free)

    with locked(held):
        assert pausing.resume("shop.away", by="ada", why="it is back") == 1

    assert pausing.bring_back("shop.away") == 1


def test_where_somebody_holds_the_cursor_nothing_is_counted_this_time():
    """Another sweeper counts, or was frozen while it did."""
    pending_delivery()
    rollup("default")

    with locked(RollupCursor.objects.get()):
        assert rollup("default").truncated
    assert not rollup("default").truncated
