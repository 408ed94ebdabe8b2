"""A queue that nobody consumes gets no hints but a probe a minute."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from reliable_effects import clock
from reliable_effects.clock import DbNow
from reliable_effects.outbox import dispatch
from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.heartbeat import note_claim
from reliable_effects.outbox.models import Delivery, Sweep
from reliable_effects.outbox.relay import relay
from reliable_effects.outbox.states import State
from tests.outbox.conftest import pending_delivery
from tests.shop.effects import wrap
from tests.shop.models import Order
from tests.sweeps import transport
from tests.sweeps.conftest import MINUTE, SECOND, from_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("_transport")]

MARKER = dispatch.UNCONSUMED + "effects"


def long_due(count: int = 1, **columns) -> list[int]:
    columns = {"due_at": DbNow() - 2 * MINUTE, "look_at": DbNow() - 2 * MINUTE} | columns
    return [pending_delivery(**columns).pk for _ in range(count)]


def promised() -> Delivery:
    with transaction.atomic():
        wrap.promise(Order.objects.create())
    dispatch.flush()
    return Delivery.objects.latest("pk")


def is_marked(queue: str = "effects") -> bool:
    return Sweep.objects.filter(name=dispatch.UNCONSUMED + queue).exists()


def test_it_gets_one_probe_a_minute():
    """Hints that nobody fetches fill the broker; one a minute finds out when somebody does."""
    long_due(5)

    for _ in range(3):
        relay("default")
    with clock.moved(61 * SECOND):
        relay("default")
        relay("default")

    assert [len(ids) for _, ids in transport.hints] == [1, 1]
    assert is_marked()


def test_a_claim_ends_it():
    """Somebody is there again, and the line is long."""
    ids = long_due(5)
    relay("default")
    note_claim("default", "effects")

    relay("default")

    assert sorted(transport.hinted_ids()) == ids
    assert not is_marked()


def test_a_probe_that_could_not_be_sent_is_none():
    """After an outage of the broker every queue looks unconsumed: none may wait a minute more."""
    long_due(5)
    transport.is_down = True
    relay("default")
    transport.is_down = False
    dispatch.forget_transport()  # as when the publisher's rest is over

    relay("default")

    assert [len(ids) for _, ids in transport.hints] == [1]


def test_an_old_claim_does_not():
    """Who took work yesterday may be gone since."""
    note_claim("default", "effects")
    Sweep.objects.update(ran_at=DbNow() - 61 * SECOND)
    long_due()

    relay("default")

    assert is_marked()


def test_what_has_just_become_due_is_no_sign():
    """A retry that is due after an hour of quiet finds its workers well."""
    pending_delivery(due_at=DbNow() - 30 * SECOND)

    relay("default")

    assert not is_marked()


def test_another_queue_is_not_concerned():
    """Only this one's workers are away."""
    long_due(queue="reports")
    ids = [pending_delivery(queue="payments").pk for _ in range(3)]

    relay("default")

    assert [sorted(ids) for queue, ids in transport.hints if queue == "payments"] == [ids]
    assert not is_marked("payments")


def test_a_worker_that_knows_none_of_its_effects_consumes_it():
    """It is there, and the next row may be one that it knows."""
    (stranger,) = long_due(of="gone.away")
    relay("default")

    deliver("default", [stranger])
    relay("default")

    assert not is_marked()


def test_a_queue_with_nothing_to_do_is_no_alarm():
    """What was waiting there has been cancelled since."""
    long_due()
    relay("default")
    Delivery.objects.update(state=State.CANCELLED, look_at=None)

    relay("default")

    assert not is_marked()


def test_emit_sends_no_hints_to_it():
    """The relay does, once a minute; and the row waits for no hint that was not sent."""
    Sweep.objects.create(name=MARKER)
    promised()
    transport.hints.clear()

    row = promised()

    assert transport.hints == []
    assert from_now(row) <= timedelta(0)
    assert row.hints == 0


def test_emit_sends_hints_again_when_it_is_consumed(monkeypatch):
    """A process that has nothing to send must learn that it has again."""
    Sweep.objects.create(name=MARKER)
    promised()
    Sweep.objects.all().delete()
    monkeypatch.setattr(dispatch, "_READ_UNCONSUMED_EVERY", 0)
    promised()
    transport.hints.clear()

    row = promised()

    assert transport.hints == [("effects", [row.pk])]


def test_emit_asks_at_most_every_ten_seconds():
    """One query more in each request would be felt."""
    promised()

    with CaptureQueriesContext(connection) as queries:
        promised()

    assert not [q for q in queries if "reliable_effects_sweep" in q["sql"]]
