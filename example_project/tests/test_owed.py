"""What the shop's own rows say is owed must suffice to do it, when nothing else is left."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db.models import F
from django.utils import timezone

from example_project.shop.effects import GRACE
from example_project.shop.models import CURSED, LoyaltyEntry, Order, Shipment
from example_project.tests.orders import place
from example_project.tests.test_shop import EVERYBODY, LATER
from reliable_effects.effects.registry import registry
from reliable_effects.models import Delivery, OutboxEvent
from reliable_effects.outbox.states import State
from reliable_effects.reports.definition import definition
from reliable_effects.testing import run_effects

pytestmark = pytest.mark.django_db
LOSSES = [(Delivery,), (OutboxEvent,), (Delivery, OutboxEvent)]
lost = pytest.mark.parametrize(
    "tables", LOSSES, ids=lambda tables: "+".join(table.__name__ for table in tables)
)


def lose(*tables) -> None:
    for table in tables:
        table.objects.all().delete()


def reconcile() -> str:
    """Find what is owed, as if the grace had gone by."""
    ago = GRACE + timedelta(seconds=1)
    Order.objects.update(placed_at=F("placed_at") - ago)
    Shipment.objects.update(opened_at=F("opened_at") - ago)
    told = StringIO()
    call_command("effects_reconcile", "--yes", "--limit", "0", stdout=told)
    return told.getvalue()


def test_every_effect_of_the_shop_can_say_what_is_owed():
    """One that could not would be lost with its delivery."""
    mute = [
        name
        for name in registry.effect_names()
        if name.startswith("shop.")
        and registry.effect(name).owed_query is None
        and definition(name) is None  # a report that is missing is asked for again
    ]

    assert mute == []


@lost
def test_all_that_an_order_owes_is_done_although_the_outbox_was_lost(partners, tables):
    order = place(gift=True)
    lose(*tables)

    reconcile()
    run_effects(until=LATER)  # the charge is asked after first, and that rests by chance

    assert partners.applied(order.reference) == sorted([*EVERYBODY, "giftwrap"])
    assert LoyaltyEntry.objects.filter(order=order).count() == 1


@pytest.mark.usefixtures("partners")
def test_a_shipment_is_owed_since_the_databases_now_whatever_the_workers_clock_says(monkeypatch):
    """A clock an hour ahead would keep a lost delivery from being found for an hour."""
    place()
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now + timedelta(hours=1))

    run_effects()

    assert Shipment.objects.get().opened_at < now + timedelta(minutes=30)


@lost
def test_a_partner_is_asked_with_the_same_key_before_and_after_the_loss(partners, tables):
    """What it had done already it then knows for a repeat."""
    place()
    partners.behave(**{"*": {"fail": 1}})
    run_effects(record=True)
    partners.behave(**{"*": {}})
    lose(*tables)

    reconcile()
    run_effects(until=LATER)

    for partner in set(EVERYBODY) - {"carrier"}:
        calls = partners.arrivals(partner=partner)
        assert (calls[0]["status"], calls[-1]["status"]) == (500, 200)
        assert len({call["key"] for call in calls}) == 1


@lost
def test_a_shipment_whose_carrier_was_never_told_is_found_by_itself(partners, tables):
    """Its event came from an effect that has succeeded and will not run again."""
    partners.behave(carrier={"fail": 1})
    order = place()
    run_effects(record=True)
    partners.behave(carrier={})
    lose(*tables)

    reconcile()
    run_effects(until=LATER)

    assert Shipment.objects.get(order=order).carrier_reference
    assert len({call["key"] for call in partners.arrivals(partner="carrier")}) == 1


@lost
def test_what_was_done_before_the_loss_is_not_done_again(partners, tables):
    place(gift=True)
    run_effects()
    calls = partners.arrivals()
    lose(*tables)

    told = reconcile()
    run_effects()

    assert "Nothing was changed" in told
    assert partners.arrivals() == calls
    assert LoyaltyEntry.objects.count() == 1


def test_a_charge_whose_answer_was_lost_is_asked_after_when_the_outbox_is_lost_too(partners):
    order = place()
    partners.behave(payment={"drop": 1})
    run_effects()
    lose(Delivery, OutboxEvent)

    reconcile()
    run_effects(until=LATER)
    order.refresh_from_db()
    calls = partners.arrivals(partner="payment")

    assert [call["status"] for call in calls] == [0]
    assert order.charge_id == calls[0]["answer"]["id"]


def test_a_cursed_vase_is_set_aside_again_and_bothers_nobody_else(partners):
    place(CURSED)
    run_effects(record=True)
    lose(Delivery)

    reconcile()
    run_effects(record=True)

    assert list(Delivery.objects.values_list("effect", "state")) == [
        ("shop.print_label", State.POISONED)
    ]
    assert partners.arrivals(partner="labels") == []


def test_an_order_that_forgot_to_emit_is_carried_out_all_the_same(partners):
    """Somebody inserts an order with SQL, as somebody always does."""
    template = place()
    lose(Delivery, OutboxEvent)
    Order.objects.filter(pk=template.pk).delete()
    template.pk, template.reference = None, "A-0000000000"
    template.save(force_insert=True)

    reconcile()
    run_effects()

    assert partners.applied("A-0000000000") == EVERYBODY
