"""Prune takes what ended well and is old, asks before it does, and keeps everything else."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from reliable_effects import ONCE
from reliable_effects.clock import DbNow
from reliable_effects.effects.keys import new_event_id
from reliable_effects.outbox import prune as prune_module
from reliable_effects.outbox import sweeps
from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent, Sweep
from reliable_effects.outbox.prune import prune
from reliable_effects.outbox.states import Reason, State
from tests.outbox.conftest import (
    cancelled_delivery,
    pending_delivery,
    poisoned_delivery,
    running_delivery,
    skipped_delivery,
    succeeded_delivery,
    uncertain_delivery,
)
from tests.shop.effects import charge_card
from tests.shop.models import Order
from tests.sweeps.conftest import DAY, SECOND, refusing

pytestmark = pytest.mark.django_db(transaction=True)

OLD = {"finished_at": DbNow() - 8 * DAY, "event": {"emitted_at": DbNow() - 8 * DAY}}


def old(make, of="shop.wrap", **columns) -> Delivery:
    return make(of, **OLD | columns)


def remain() -> set[int]:
    return set(Delivery.objects.values_list("pk", flat=True))


# What goes


@pytest.mark.parametrize("make", [succeeded_delivery, skipped_delivery, cancelled_delivery])
def test_what_ended_well_and_is_old_goes_with_all_that_was_its_own(make):
    """It is done, and nobody depends on it."""
    row = old(make)
    Attempt.objects.create(delivery=row, number=1, outcome=Attempt.Outcome.FAILED)

    swept = prune("default")

    assert not Delivery.objects.exists()
    assert not Attempt.objects.exists()
    assert not OutboxEvent.objects.exists()
    assert swept.seen >= 1
    assert swept.done >= 1


@pytest.mark.parametrize("make", [succeeded_delivery, skipped_delivery, cancelled_delivery])
def test_what_is_recent_stays(make):
    """People ask about yesterday."""
    row = make(finished_at=DbNow() - 6 * DAY, event={"emitted_at": DbNow() - 8 * DAY})

    prune("default")

    assert remain() == {row.pk}
    assert OutboxEvent.objects.exists()


def test_what_did_not_end_well_stays_whatever_its_age():
    """Deleting by age alone is how other systems lose work."""
    kept = [
        old(poisoned_delivery),
        old(skipped_delivery, reason=Reason.EXPIRED),
        old(skipped_delivery, reason=Reason.EFFECT_SKIPPED),
        old(skipped_delivery, reason=Reason.SUBJECT_GONE),
        *(
            make(event={"emitted_at": DbNow() - 8 * DAY}, due_at=DbNow() - 8 * DAY)
            for make in (pending_delivery, running_delivery, uncertain_delivery)
        ),
    ]

    prune("default")

    assert remain() == {row.pk for row in kept}
    assert OutboxEvent.objects.count() == len(kept)


def test_what_this_release_does_not_know_stays():
    """Nobody here can say what it owes."""
    row = old(succeeded_delivery, "gone.away")

    prune("default")

    assert remain() == {row.pk}


def test_an_event_with_a_delivery_left_stays():
    """The one that failed is redriven from its payload."""
    done = old(succeeded_delivery)
    failed = old(poisoned_delivery, "shop.send_receipt")
    Delivery.objects.filter(pk=failed.pk).update(event_id=done.event_id)

    prune("default")

    assert remain() == {failed.pk}
    assert OutboxEvent.objects.filter(pk=done.event_id).exists()


def test_an_old_event_that_owed_nothing_to_anybody_goes():
    """It is a fact that nobody asked for."""
    facts = {"name": "shop.order_seen", "correlation": uuid4(), "source": "emit"}
    OutboxEvent.objects.create(id=new_event_id(), emitted_at=DbNow() - 8 * DAY, **facts)
    recent = OutboxEvent.objects.create(id=new_event_id(), **facts)

    prune("default")

    assert list(OutboxEvent.objects.all()) == [recent]


# What is asked first


def charged_order(**columns) -> Order:
    return Order.objects.create(charge_id="ch_1", **columns)


def test_what_is_still_owed_stays():
    """Its row is what proves that it was done; without it reconcile would do it again."""
    owing = old(succeeded_delivery, charge_card, subject=Order.objects.create())
    old(succeeded_delivery, charge_card, subject=charged_order())
    old(skipped_delivery, charge_card, subject=charged_order())

    prune("default")

    assert remain() == {owing.pk}


def test_what_a_person_gave_up_stays_where_it_could_be_found_owed():
    """Reconcile never overrides a person, and this row is how it knows."""
    row = old(cancelled_delivery, charge_card, subject=charged_order())

    prune("default")

    assert remain() == {row.pk}


def test_an_owed_query_that_raises_keeps_its_own_rows_only(make_effect, caplog):
    """It is the project's code, and may be wrong for a day."""
    broken = make_effect()

    @broken.owed(since="placed_at", grace=SECOND, debt=ONCE)
    def owing():
        raise RuntimeError("no such column")

    row = old(succeeded_delivery, broken)
    old(succeeded_delivery)

    prune("default")

    assert remain() == {row.pk}
    assert f"the owed query of {broken.name} failed" in caplog.text


def test_a_subject_that_is_not_a_row_number_any_more_stops_nobody():
    """Its model got another primary key since."""
    row = old(succeeded_delivery, charge_card, event={**OLD["event"], "subject_pk": "not a number"})
    old(succeeded_delivery)

    prune("default")

    assert remain() == {row.pk}


def test_what_lost_its_event_goes_unless_somebody_must_be_asked():
    """Whoever deleted the event: without it nobody knows whom to ask about."""
    old(succeeded_delivery)
    kept = old(succeeded_delivery, charge_card, subject=charged_order())
    OutboxEvent.objects.all().delete()

    prune("default")

    assert remain() == {kept.pk}


# How


def test_it_goes_in_small_batches(monkeypatch):
    """Each is a transaction of its own: locks are short, and a standby keeps up."""
    monkeypatch.setattr(prune_module, "_BATCH", 10)
    for _ in range(25):
        old(succeeded_delivery)

    with CaptureQueriesContext(connection) as queries:
        prune("default")

    assert not Delivery.objects.exists()
    start = f"DELETE FROM {connection.ops.quote_name(Delivery._meta.db_table)}"
    deletes = [q for q in queries if q["sql"].startswith(start)]
    assert len(deletes) == 3


def test_what_is_kept_is_read_once(monkeypatch):
    """A million kept rows must not make each batch read a million."""
    monkeypatch.setattr(prune_module, "_BATCH", 5)
    for _ in range(20):
        old(succeeded_delivery, charge_card, subject=Order.objects.create())
    gone = old(succeeded_delivery, finished_at=DbNow() - 7.5 * DAY)

    swept = prune("default")

    assert gone.pk not in remain()
    assert len(remain()) == 20
    assert swept.seen == 21 + 20  # each delivery once, then each event that is left


def test_rows_that_ended_at_one_instant_are_all_read(monkeypatch):
    """A harmless group completes in one statement."""
    monkeypatch.setattr(prune_module, "_BATCH", 4)
    for _ in range(11):
        old(succeeded_delivery)
    Delivery.objects.update(finished_at=DbNow() - 9 * DAY)

    prune("default")

    assert not Delivery.objects.exists()


def test_a_sweep_that_is_cut_short_says_so_and_goes_on_where_it_was(monkeypatch):
    """Else what is kept would be all that it ever reads."""
    monkeypatch.setattr(prune_module, "_BATCH", 2)
    for _ in range(4):
        old(succeeded_delivery, charge_card, subject=Order.objects.create())
    gone = old(succeeded_delivery, finished_at=DbNow() - 7.5 * DAY)
    ticks = iter(range(1000))
    monkeypatch.setattr(prune_module, "monotonic", lambda: next(ticks) * 1.5)

    first = prune("default")
    kept_so_far = gone.pk in remain()
    for _ in range(3):
        prune("default")

    assert first.truncated
    assert kept_so_far
    assert gone.pk not in remain()


def test_a_sweep_that_was_cut_short_goes_on_soon():
    """Ten minutes a slice would never catch up."""
    sweeps.sweep("default", sweeps.PRUNE)
    Sweep.objects.filter(name="prune").update(ran_at=DbNow() - 11 * SECOND, truncated=True)

    again = sweeps.sweep("default", sweeps.PRUNE)
    Sweep.objects.filter(name="prune").update(ran_at=DbNow() - 11 * SECOND)
    not_again = sweeps.sweep("default", sweeps.PRUNE)

    assert again is not None
    assert not_again is None


def test_a_row_that_cannot_be_deleted_stops_no_other(caplog):
    """Not even those of its own batch."""
    rows = [old(succeeded_delivery) for _ in range(5)]

    with refusing("reliable_effects_delivery", "DELETE", f"OLD.id = {rows[2].pk}"):
        prune("default")

    assert remain() == {rows[2].pk}
    assert f"could not prune delivery {rows[2].pk}" in caplog.text


def test_what_is_promised_again_meanwhile_stays(monkeypatch):
    """Between reading and deleting, a debt may be reopened."""
    row = old(skipped_delivery)
    asked = prune_module._owed_no_more

    def reopened_meanwhile(using, batch):
        free = asked(using, batch)
        Delivery.objects.update(state=State.PENDING, reason="", finished_at=None, look_at=DbNow())
        return free

    monkeypatch.setattr(prune_module, "_owed_no_more", reopened_meanwhile)

    prune("default")

    assert remain() == {row.pk}
    assert OutboxEvent.objects.exists()
