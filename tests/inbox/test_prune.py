"""Rows go when their sender repeats nothing any more, and not before."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection, transaction

from reliable_effects import inbox
from reliable_effects.clock import DbNow
from reliable_effects.inbox import Claim
from reliable_effects.inbox import prune as prune_module
from reliable_effects.inbox.models import InboxMessage, consumers
from reliable_effects.inbox.prune import INBOX, prune
from reliable_effects.outbox.sweeps import sweep, tasks
from tests.faults.plans.touched import touched

from .conftest import fill, meanwhile

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
TABLE = InboxMessage._meta.db_table


def received(ago: timedelta, *ids: str, consumer: str = "billing") -> None:
    for message_id in ids:
        with transaction.atomic():
            assert inbox.claim(message_id, consumer=consumer)
    rows = InboxMessage.objects.filter(consumer=consumer, message_id__in=ids)
    rows.update(received_at=DbNow() - ago)


def left() -> set[str]:
    return set(InboxMessage.objects.values_list("message_id", flat=True))


def test_a_month_is_kept():
    received(29 * DAY, "young")
    received(31 * DAY, "old")

    swept = prune("default")

    assert left() == {"young"}
    assert (swept.seen, swept.done, swept.truncated) == (1, 1, False)


def test_the_project_says_how_long(settings):
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "INBOX_RETENTION": 3 * DAY}
    received(2 * DAY, "young")
    received(4 * DAY, "old")

    prune("default")

    assert left() == {"young"}


def test_every_consumer_has_its_turn(monkeypatch):
    """What the time did not allow is done next, not what was done before once more."""
    monkeypatch.setattr(prune_module, "_BATCH", 2)
    for name in "abc":
        received(31 * DAY, *(f"{name}{n}" for n in range(4)), consumer=name)
    monkeypatch.setattr(prune_module, "_BOUND", 0.0)

    assert prune("default").truncated
    monkeypatch.undo()
    assert not prune("default").truncated

    assert not left()


def test_the_sweepers_do_it_and_beat_may():
    received(31 * DAY, "old")

    swept = sweep("default", INBOX, now=True)

    assert swept is not None
    assert swept.done == 1
    assert "reliable_effects.inbox" in tasks()


def test_what_was_pruned_is_new_again():
    """That is what the retention means."""
    received(31 * DAY, "evt_1")
    prune("default")

    with transaction.atomic():
        assert inbox.claim("evt_1", consumer="billing") is Claim.NEW


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
def test_a_row_that_somebody_holds_is_left_for_the_next_time():
    received(31 * DAY, "held", "free")

    def hold() -> None:
        list(InboxMessage.objects.filter(message_id="held").select_for_update())

    with meanwhile(hold):
        assert prune("default").done == 1

    assert left() == {"held"}


def test_consumers_are_found_one_by_one():
    for name in ("b", "a", "c"):
        received(DAY, "1", "2", consumer=name)

    assert consumers("default") == ["a", "b", "c"]
    assert consumers("default", after="a", at_most=1) == ["b"]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="for servers with statistics")
def test_a_full_table_is_not_read_for_the_few_old_rows():
    """Each sweep would read a month of messages."""
    fill(20_000)
    received(31 * DAY, *map(str, range(10)), consumer="billing")

    with touched() as found:
        prune("default")

    assert sum(s.rows for s in found if TABLE in s.sql) < 200
    assert InboxMessage.objects.count() == 20_000
