"""A view that emits says where to ask how it goes."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test.utils import override_script_prefix
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from reliable_effects.outbox.models import OutboxEvent
from reliable_effects.rest_framework import accepted
from reliable_effects.testing import run_effects
from tests.shop.events import order_seen

pytestmark = pytest.mark.django_db


def test_the_answer_names_an_address_at_which_its_asker_reads_the_same(ada, make_effect):
    """What it says and what the address says must not differ."""
    make_effect(on=order_seen)

    answer = ada.post("/api/orders/")

    assert answer.status_code == 202
    assert answer["Operation-Location"] == answer["Location"]
    assert answer["Retry-After"] == "2"
    assert answer.json()["status"] == "pending"
    assert ada.get(answer["Location"]).json() == answer.json()
    assert answer.json()["links"]["self"] == answer["Location"]


def test_what_was_accepted_is_seen_to_succeed(ada, make_effect):
    """The whole way: promised, carried out, told."""
    make_effect(on=order_seen)
    location = ada.post("/api/orders/")["Location"]

    run_effects()
    answer = ada.get(location)

    assert answer.json()["status"] == "succeeded"
    assert answer.json()["progress"] == {"done": 1, "total": 1}
    assert answer.json()["result"].startswith("/receipts/")
    assert answer.json()["finished_at"]
    assert "Retry-After" not in answer


def test_the_event_itself_or_its_id_will_do(ada):
    """An answer that is given again has the row, and no result of an emit."""
    ada.post("/api/orders/")
    event = OutboxEvent.objects.get()
    request = Request(APIRequestFactory().post("/"))

    locations = {accepted(e, request, route="order-effects")["Location"] for e in (event, event.pk)}

    assert locations == {f"http://testserver/api/effects/{event.pk}/"}


def test_a_script_prefix_is_no_part_of_the_route(ada):
    """Below /shop/ the addresses begin with it."""
    with override_script_prefix("/shop/"):
        answer = ada.post("/api/orders/")

    assert answer["Location"].startswith("http://testserver/shop/api/effects/")


def test_the_view_that_emits_may_stand_in_another_namespace(ada):
    """The addresses are those of the router."""
    answer = ada.post("/shop/orders/")

    assert answer["Location"].startswith("http://testserver/api/effects/")
    assert answer.json()["links"]["self"] == answer["Location"]


def test_a_route_may_have_a_namespace_of_its_own(ada):
    """Under it are links, too."""
    ada.post("/api/orders/")
    event = OutboxEvent.objects.get()
    request = Request(APIRequestFactory().post("/"))

    answer = accepted(event, request, route="partners:order-effects")

    assert answer["Location"] == f"http://testserver/partners/effects/{event.pk}/"
    assert answer.data["links"]["self"] == answer["Location"]


def test_a_route_to_something_else_is_refused(ada):
    """It would be told to customers."""
    ada.post("/api/orders/")
    request = Request(APIRequestFactory().post("/"))

    with pytest.raises(ImproperlyConfigured, match=r"'strange' leads to .*charge"):
        accepted(OutboxEvent.objects.get(), request, route="strange")
