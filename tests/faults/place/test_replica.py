"""
A router that reads from a replica, which is stale: what decides is read where it is written.

The other database of the run plays the replica, ten seconds old: it has the order as it was then,
and none of our rows.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from reliable_effects import ONCE
from reliable_effects.clock import DbNow, read_clock
from reliable_effects.outbox import remedy
from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.models import Delivery, Sweep
from reliable_effects.outbox.states import Reason, State
from reliable_effects.outbox.sweeps import PRUNE, RELAY, RESCUE, sweep
from reliable_effects.outbox.worker import work
from reliable_effects.schedule import remedies
from reliable_effects.schedule.models import ScheduledJob
from reliable_effects.schedule.states import JobState
from reliable_effects.schedule.tables import JobTable, TypedTable
from tests.outbox.conftest import make_effect  # noqa: F401  # a fixture
from tests.shop.events import order_seen
from tests.shop.models import Order
from tests.trials.models import TrialExpiry

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class ReadsAreStale:
    """As in Django's documentation: writes go to the primary, reads to the replica."""

    def db_for_read(self, _model, **_hints):
        return "other"

    def db_for_write(self, _model, **_hints):
        return "default"

    def allow_relation(self, *_objects, **_hints):
        return True


@pytest.fixture(autouse=True)
def _reads_are_stale(settings):
    settings.DATABASE_ROUTERS = [f"{__name__}.ReadsAreStale"]


def replicated(**columns) -> Order:
    """An order that both have, for now."""
    order = Order.objects.using("default").create(**columns)
    Order.objects.using("other").bulk_create([Order(pk=order.pk, **columns)])
    return order


def changed(order: Order, **columns) -> None:
    Order.objects.using("default").filter(pk=order.pk).update(**columns)


def promise(effect, order: Order) -> Delivery:
    with transaction.atomic(using="default"):
        effect.promise(order)
    return Delivery.objects.using("default").get(effect=effect.name)


@pytest.mark.fault(
    "a read replica that is stale, asked whether an effect is still needed", rows="D9"
)
@pytest.mark.parametrize("asks", ["still_needed", "owed"])
def test_whether_it_is_still_needed_is_asked_on_the_writer(asks, make_effect, evidence):  # noqa: F811
    """An order that was cancelled meanwhile must not be charged, nor a new one be skipped."""
    did: list[int] = []
    needed = {"still_needed": lambda order: order.status == "placed"} if asks != "owed" else {}
    effect = make_effect(lambda order, _ctx: did.append(order.pk), **needed)
    if asks == "owed":

        @effect.owed(since="placed_at", grace=timedelta(0), debt=ONCE)
        def unpaid():
            return Order.objects.filter(status="placed")

    cancelled, revived = replicated(status="placed"), replicated(status="cancelled")
    with transaction.atomic(using="default"):
        for order, status in ((cancelled, "cancelled"), (revived, "placed")):
            changed(order, status=status)
            effect.promise(order)

    rows = Delivery.objects.using("default")
    for pk in rows.values_list("pk", flat=True):
        deliver("default", [pk])

    assert rows.get(event__subject_pk=str(cancelled.pk)).reason == Reason.NOT_NEEDED
    evidence.add(strikes=2, lost=int(revived.pk not in did), phantom=int(cancelled.pk in did))


@pytest.mark.fault("a read replica that has none of our rows yet", rows="D9")
def test_workers_and_sweeps_never_look_at_the_replica(settings, make_effect, evidence):  # noqa: F811
    """A row that is not replicated yet is due all the same; a finished one may look as if it were."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "tests.recording.send"}
    did: list[int] = []
    effect = make_effect(lambda order, _ctx: did.append(order.pk))
    row = promise(effect, replicated())
    expired = {
        "state": State.RUNNING, "claim_token": 1, "look_at": None,
        "lease_expires_at": DbNow() - timedelta(seconds=1),
    }  # fmt: skip
    Delivery.objects.using("default").filter(pk=row.pk).update(**expired)

    assert sweep("default", RESCUE, now=True).done == 1
    assert sweep("default", RELAY, now=True).done == 1
    assert sweep("default", PRUNE, now=True).done == 0
    Delivery.objects.using("default").update(look_at=DbNow())
    work([], lambda: False, drain=True)

    assert not Sweep.objects.using("other").exists()
    assert not Delivery.objects.using("other").exists()
    evidence.add(lost=1 - len(did))


@pytest.mark.parametrize("verb", [remedy.redrive, remedy.cancel])
def test_a_remedy_changes_the_row_where_it_is_written(verb, make_effect):  # noqa: F811
    """Its page was read from the replica."""
    row = promise(make_effect(), replicated())
    rows = Delivery.objects.using("default").filter(pk=row.pk)
    rows.update(state=State.UNCERTAIN)

    changed = verb(Delivery.objects.filter(pk=row.pk), by="ann", why="asked for")

    assert changed == [row]
    assert rows.get().state != State.UNCERTAIN


@pytest.mark.parametrize("verb", [remedies.run_now, remedies.cancel])
@pytest.mark.parametrize("model", [ScheduledJob, TrialExpiry])
def test_a_remedy_changes_the_job_where_it_is_written(verb, model):
    """Also where a page has been read from the replica; what names its database is taken there."""
    order, at = replicated(), read_clock("default") + timedelta(days=1)
    with transaction.atomic(using="default"):
        order_seen.schedule(order, at=at, key="a", using="default")
    TrialExpiry.objects.using("default").create(order=order, at=at)
    table = JobTable() if model is ScheduledJob else TypedTable(TrialExpiry)
    said = {"by": "ann", "why": "asked for"}

    unnamed = verb(table, model.objects.all(), **said)
    named = verb(table, model.objects.using("other"), **said)

    job = model.objects.using("default").get()
    assert (unnamed, named) == ([job], [])
    assert (job.state == JobState.CANCELLED) or job.at < at


def test_a_row_that_was_read_from_the_replica_takes_no_cancel_back():
    """It is as old as the replica."""
    order, at = replicated(), read_clock("default") + timedelta(days=1)
    for alias in ("default", "other"):
        TrialExpiry(pk=7, order=order, at=at, key="a").save(using=alias, force_insert=True)
    stale = TrialExpiry.objects.get()
    TrialExpiry.objects.using("default").cancel()

    stale.plan = "gold"
    stale.save()

    job = TrialExpiry.objects.using("default").get()
    assert (job.plan, job.state, job.key) == ("gold", JobState.CANCELLED, None)
