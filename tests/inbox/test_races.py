"""Two deliveries of one message at the same moment: one runs, and nobody waits for the other."""

from __future__ import annotations

import threading
from collections import Counter
from uuid import uuid4

import pytest
from django.db import Error, OperationalError, connection, connections, transaction

from reliable_effects import inbox
from reliable_effects.exceptions import MessageBusy
from reliable_effects.inbox import Claim
from reliable_effects.inbox.models import InboxMessage
from tests.shop.models import LedgerEntry

from .conftest import PAYLOAD, meanwhile, message

pytestmark = pytest.mark.django_db(transaction=True)

ON_SERVERS = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has one writer at a time"
)


@pytest.fixture(autouse=True)
def _ids_of_its_own() -> None:
    """What an earlier test deleted stays in MariaDB's index for a while, and locks its neighbours."""
    global _run  # noqa: PLW0603  # read by `take`
    _run = uuid4().hex


_run = ""


def take(message_id: str = "evt_1", payload: object = PAYLOAD) -> Claim:
    return inbox.claim(f"{_run}:{message_id}", consumer="billing", payload=payload)


@ON_SERVERS
def test_whoever_comes_while_it_is_handled_is_told_to_come_again(isolation):
    """It is no duplicate yet: the first may still roll back, and then it would be lost."""
    with meanwhile(take), transaction.atomic():
        with pytest.raises(MessageBusy, match="evt_1"):
            take()
        # The caller's transaction is as it was.
        assert take("evt_2")

    assert InboxMessage.objects.get().message_id.endswith("evt_2")


@ON_SERVERS
@pytest.mark.parametrize("commits", [True, False])
def test_when_the_first_has_ended_its_end_counts(isolation, commits):
    with meanwhile(take) as end:
        end(commits)
        with transaction.atomic():
            found = take()

    assert found is (Claim.DUPLICATE if commits else Claim.NEW)


@ON_SERVERS
def test_a_snapshot_that_is_older_than_the_first_commit_hides_nothing(isolation):
    """REPEATABLE READ does not show the row; it must be found all the same, or the call refused."""
    with meanwhile(take) as end, transaction.atomic():
        assert not LedgerEntry.objects.exists()  # the snapshot
        end(True)
        try:
            found = take()
        except (MessageBusy, OperationalError):
            assert isolation == "REPEATABLE READ"
            transaction.set_rollback(True)
        else:
            assert found is Claim.DUPLICATE


@ON_SERVERS
def test_two_that_take_two_messages_crosswise_do_not_deadlock(isolation):
    """Each would wait for the other's second message."""
    with meanwhile(lambda: take("evt_1")) as end, transaction.atomic():
        assert take("evt_2")
        with pytest.raises(MessageBusy):
            take("evt_1")
        end(True)

    assert InboxMessage.objects.count() == 2


def test_of_many_at_once_one_runs():
    """Each comes again until it is told that the message was handled, as senders do."""
    found: Counter[Claim] = Counter()
    start = threading.Barrier(6)

    def deliver() -> None:
        try:
            start.wait(10)
            for _ in range(200):
                try:
                    with transaction.atomic():
                        claim = take()
                        if claim:
                            LedgerEntry.objects.create(order_pk=1, what="paid", key="")
                except MessageBusy:
                    continue
                found[claim] += 1
                return
        finally:
            connections.close_all()

    threads = [threading.Thread(target=deliver) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert found == {Claim.NEW: 1, Claim.DUPLICATE: 5}
    assert LedgerEntry.objects.count() == 1


@ON_SERVERS
def test_a_conflict_does_not_wait_for_another(isolation):
    """Whoever holds the row is marking it, too."""
    with transaction.atomic():
        take()

    with meanwhile(lambda: take(payload=b"another")), transaction.atomic():
        assert take(payload=b"a third") is Claim.CONFLICTED

    assert message().conflicts >= 0


@ON_SERVERS
def test_unlike_messages_do_not_stand_in_each_others_way(isolation):
    """Locks of the one must not be those of its neighbours."""
    with meanwhile(lambda: [take(f"evt_{n}") for n in range(50)]), transaction.atomic():
        assert all(take(f"other_{n}") for n in range(50))


@pytest.mark.skipif(connection.vendor != "mysql", reason="how MariaDB waits")
def test_a_statement_that_may_not_wait_leaves_the_setting_as_it_was():
    def patience() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@innodb_lock_wait_timeout")
            return cursor.fetchone()[0]

    before = patience()
    with meanwhile(take), transaction.atomic(), pytest.raises((MessageBusy, Error)):
        take()

    assert patience() == before > 0
