"""The shop, tested as a user of reliable_effects would: real rows, real calls over a socket."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.urls import reverse

from example_project.shop.events import order_placed
from example_project.shop.models import CURSED, Order, Product, Shipment, new_reference
from example_project.shop.placing import DECLINED_CARD, CardDeclined
from example_project.shop.showing import TOLD
from example_project.tests.orders import place
from reliable_effects.models import Delivery
from reliable_effects.outbox.states import State
from reliable_effects.testing import assertEmitted, assertNotEmitted, run_effects

pytestmark = pytest.mark.django_db
LATER = timedelta(minutes=5)  # all retries are over by then; no test waits for it
EVERYBODY = ["analytics", "carrier", "crm", "labels", "mail", "payment", "search", "warehouse"]


def state_of(effect: str) -> State:
    return State(Delivery.objects.get(effect=f"shop.{effect}").state)


def test_an_order_promises_ten_effects_and_calls_nobody_yet(partners):
    """The request must not wait for a partner."""
    order = place()

    assertEmitted(order_placed, order)
    assert Delivery.objects.for_subject(order).count() == 10
    assert partners.arrivals() == []


def test_every_effect_of_an_order_reaches_its_partner_once(partners):
    order = place()

    run_effects()

    assert partners.applied(order.reference) == EVERYBODY
    assert len(partners.arrivals()) == len(EVERYBODY)


def test_a_paid_order_knows_its_charge_and_its_receipt(partners):
    order = place()

    run_effects()
    order.refresh_from_db()

    assert order.status == Order.Status.PAID
    assert partners.arrivals(partner="payment")[0]["answer"]["id"] == order.charge_id
    assert order.receipt_sent_at


def test_a_declined_card_leaves_no_order_and_nothing_to_deliver(partners):
    """The card is declined after the event was emitted: both must vanish together."""
    with pytest.raises(CardDeclined):
        place(card=DECLINED_CARD)
    run_effects()

    assertNotEmitted(order_placed)
    assert not Order.objects.exists()
    assert partners.arrivals() == []


def test_the_same_form_sent_twice_is_one_order(partners):
    """A double click must not charge the card twice."""
    first = place()
    again = place(reference=first.reference)

    run_effects()

    assert first == again
    assert len(partners.arrivals(partner="payment")) == 1


@pytest.mark.parametrize(
    ("gift", "state"), [(True, State.SUCCEEDED), (False, State.SKIPPED)], ids=["gift", "no gift"]
)
def test_only_gifts_are_wrapped(partners, gift, state):
    order = place(gift=gift)

    run_effects()

    assert state_of("gift_wrap") == state
    assert ("giftwrap" in partners.applied(order.reference)) is gift


def test_a_cursed_vase_gets_no_label_and_everything_else(partners):
    """One effect that can't succeed is set aside; the other nine do not notice."""
    order = place(CURSED)

    run_effects(record=True)

    assert state_of("print_label") == State.POISONED
    assert partners.applied(order.reference) == [p for p in EVERYBODY if p != "labels"]


def test_a_failing_partner_is_asked_again_with_the_same_key(partners):
    order = place()
    partners.behave(mail={"fail": 1})
    run_effects(record=True)
    partners.behave(mail={})

    run_effects(until=LATER)
    calls = partners.arrivals(partner="mail")

    assert "mail" in partners.applied(order.reference)
    assert (calls[0]["status"], calls[-1]["status"]) == (500, 200)
    assert len({call["key"] for call in calls}) == 1


def test_a_busy_partner_costs_no_attempt(partners):
    """429 says "not now", and that is no failure."""
    place()
    partners.behave(crm={"busy": 1, "retry_after": 30})
    run_effects()
    partners.behave(crm={})

    run_effects(until=LATER)

    assert [call["status"] for call in partners.arrivals(partner="crm")] == [429, 200]
    assert Delivery.objects.get(effect="shop.update_crm").attempts == 1


def test_a_lost_answer_is_asked_after_and_the_card_charged_once(partners):
    """The payment was made; sending it again without asking is what the effect avoids."""
    order = place()
    partners.behave(payment={"drop": 1})

    run_effects(until=LATER)
    order.refresh_from_db()
    calls = partners.arrivals(partner="payment")

    assert state_of("charge_card") == State.SUCCEEDED
    assert [call["status"] for call in calls] == [0]
    assert order.charge_id == calls[0]["answer"]["id"]


def test_a_shipment_is_opened_once_and_its_carrier_told(partners):
    order = place()

    run_effects()

    assert Shipment.objects.get(order=order).carrier_reference
    assert len(partners.arrivals(partner="carrier")) == 1


@pytest.mark.usefixtures("partners")
def test_an_order_can_be_placed_and_watched_on_the_web(client):
    reference = new_reference()
    form = {
        "product": Product.objects.get(slug="lamp").pk,
        "quantity": 1,
        "email": "ada@example.com",
        "card": "4242",
        "reference": reference,
    }

    answer = client.post(reverse("home"), form)
    before = client.get(answer["Location"]).content.decode()
    run_effects()
    after = client.get(reverse("order-effects", args=[reference])).content.decode()

    assert before.count(">waiting</span>") == 10
    assert before.count("<strong>waiting</strong>") == len(TOLD)  # what customers are told
    assert after.count(">done</span>") == 10
    assert after.count("<strong>done</strong>") == len(TOLD)
    assert after.count(">not needed<") == 1
    assert 'data-settled="yes"' in after


def test_a_declined_order_is_told_on_the_page(client):
    form = {
        "product": Product.objects.get(slug="lamp").pk,
        "quantity": 1,
        "email": "ada@example.com",
        "card": DECLINED_CARD,
        "reference": new_reference(),
    }

    answer = client.post(reverse("home"), form)

    assert answer.status_code == 402
    assert form["reference"] in answer.content.decode()
    assert answer.context["form"]["reference"].value() != form["reference"]


def test_a_form_with_a_mistake_places_nothing(client):
    answer = client.post(reverse("home"), {"quantity": 0})

    assert answer.status_code == 422
    assert not Order.objects.exists()


def test_orders_can_be_placed_from_the_command_line():
    call_command("place_orders", "3", verbosity=0)

    assert Order.objects.count() == 3
    assert Delivery.objects.filter(event__name="shop.order_placed").count() == 30
