"""{% effects_of order %}: plain words for customers, and nothing that is not theirs to know."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.template import Context, Template
from django.test.utils import CaptureQueriesContext

from reliable_effects.console.telling import told_of
from reliable_effects.outbox.outward import Outward
from reliable_effects.rest_framework.documents import Deliveries
from tests.outbox.conftest import IN_STATE, pending_delivery, poisoned_delivery, succeeded_delivery
from tests.shop.models import Order

pytestmark = pytest.mark.django_db

LABELS = {"shop.charge_card": "Your payment", "shop.send_receipt": "Your receipt"}


def rendered(call: str, **context) -> str:
    template = Template("{% load reliable_effects %}{% " + call + " %}")
    return template.render(Context({"labels": LABELS, **context}))


def lines(text: str) -> list[tuple[str, str]]:
    """What each line tells, with the word that the API has for it."""
    found = re.findall(r'<li data-status="(\w+)">(.*?)</li>', text)
    return [(re.sub(r"<[^>]+>", "", told), status) for status, told in found]


@pytest.fixture
def order() -> Order:
    return Order.objects.create()


def test_each_effect_that_has_a_label_is_told_by_it_and_the_others_in_one_line(order):
    """Our names are none of the customer's business."""
    succeeded_delivery("shop.send_receipt", subject=order)
    pending_delivery("shop.charge_card", subject=order, attempts=2)
    pending_delivery("shop.wrap", subject=order)
    pending_delivery("shop.thank", subject=order)

    text = rendered("effects_of order labels=labels", order=order)

    assert lines(text) == [
        ("Your payment: being tried again", "pending"),
        ("Your receipt: done", "succeeded"),
        ("Everything else: waiting", "pending"),
    ]
    assert "shop." not in text


def test_without_labels_one_line_tells_how_it_goes(order):
    """As the API sums up an event."""
    succeeded_delivery("shop.send_receipt", subject=order)
    pending_delivery("shop.wrap", subject=order)

    assert lines(rendered("effects_of order", order=order)) == [("in progress", "running")]


@pytest.mark.parametrize("state", IN_STATE)
def test_the_word_is_the_one_that_the_api_has(order, state):
    """A customer who reads both reads the same."""
    row = IN_STATE[state](subject=order)

    [told] = told_of(order, labels={row.effect: "It"})

    assert told.status == Deliveries([row.event], "default", ()).status(row.event)


def test_what_needs_a_person_says_so_and_not_why(order):
    """Errors and payloads stay in the house."""
    row = poisoned_delivery("shop.charge_card", subject=order, payload={"card": "4242"})
    row.attempt_rows.create(
        number=1, outcome="failed", message="card 4242 refused", exception_type="X"
    )
    succeeded_delivery("shop.send_receipt", subject=order)

    text = rendered("effects_of order labels=labels", order=order)

    assert lines(text)[0] == ("Your payment: could not be done", "failed")
    assert "4242" not in text


@pytest.mark.parametrize(
    "call",
    [
        "effects_of order only='shop.send_receipt, shop.thank' labels=labels",
        "effects_of order only=few labels=labels",
    ],
)
def test_only_those_that_are_named_are_heard_of(order, call):
    """A page about payment says nothing of analytics."""
    for name in ("shop.send_receipt", "shop.charge_card", "shop.wrap"):
        pending_delivery(name, subject=order)

    text = rendered(call, order=order, few=["shop.send_receipt"])

    assert lines(text) == [("Your receipt: waiting", "pending")]


def test_an_effect_is_known_by_all_its_names(order, make_effect):
    """Rows of an earlier release are told by today's label."""
    make_effect(name="test.new", aliases=["test.old"])
    pending_delivery("test.old", subject=order)

    told = lines(
        rendered("effects_of order only='test.new' labels=l", order=order, l={"test.new": "It"})
    )

    assert told == [("It: waiting", "pending")]


def test_the_newest_of_each_counts(order):
    """An order that was paid at the second try is paid."""
    poisoned_delivery("shop.charge_card", subject=order)
    succeeded_delivery("shop.charge_card", subject=order)

    [told] = told_of(order, labels=LABELS)

    assert told.status == Outward.SUCCEEDED


@pytest.mark.parametrize("subject", [None, "", "A-1", Order()])
def test_what_is_no_row_has_none(subject):
    """A variable that is not there is nothing, as elsewhere in templates."""
    assert rendered("effects_of order", order=subject).strip() == ""


def test_a_label_is_text(order):
    """It may come from wherever the project has it."""
    pending_delivery("shop.wrap", subject=order)

    text = rendered("effects_of order labels=l", order=order, l={"shop.wrap": "<b>{{ 7 }}</b>"})

    assert "&lt;b&gt;{{ 7 }}" in text


def test_two_queries_are_asked(order):
    """Customers reload."""
    for name in ("shop.send_receipt", "shop.charge_card", "shop.wrap"):
        pending_delivery(name, subject=order)

    with CaptureQueriesContext(connection) as queries:
        rendered("effects_of order labels=labels", order=order)

    assert len(queries) == 2
    assert all("LIMIT" in q["sql"] for q in queries)
