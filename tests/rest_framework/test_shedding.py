"""The same limits as a throttle, and one for each customer."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from reliable_effects.outbox.states import State
from reliable_effects.rest_framework import ShedLoad
from tests.shop.models import Order
from tests.watch_pressure.conftest import backlog

from .conftest import client_of, delivery_of, event_about, order_of

pytestmark = pytest.mark.django_db


def test_over_its_limit_a_view_answers_503_with_a_problem(ada, caplog):
    """REST framework's own throttles would say 429: as if this client were to blame."""
    backlog(11)

    answer = ada.post("/api/charges/")

    assert (answer.status_code, answer.json()["code"]) == (503, "backlogged")
    assert answer.json()["status"] == 503
    assert answer["Content-Type"] == "application/problem+json"
    assert 240 <= int(answer["Retry-After"]) <= 361
    assert not Order.objects.exists()
    assert [r for r in caplog.records if r.name == "django.request"] == []


def test_strangers_are_turned_away_for_being_strangers(client):
    """Login and permissions come first, and cost no look at the queue."""
    backlog(11)

    assert client.post("/api/charges/").status_code == 403


def test_reads_and_those_who_are_exempt_come_in(ada):
    """Staff mends what the rush has broken."""
    backlog(11)

    assert ada.get("/api/charges/").status_code == 200
    assert client_of("eve", is_staff=True).post("/api/charges/").status_code == 202


def test_a_customer_with_too_much_waiting_waits_alone(ada, bob):
    """429 is for who has sent too much; nobody else notices."""
    for _ in range(2):
        delivery_of(event_about(order_of("ada")))

    refused, other = ada.post("/api/purchases/"), bob.post("/api/purchases/")

    assert (refused.status_code, refused.json()["code"]) == (429, "over-quota")
    assert int(refused["Retry-After"]) >= 1
    assert other.status_code == 202


def test_a_quota_that_names_no_queue_goes_by_the_rate_of_what_waits(ada):
    """One is too many, and many are done in a second."""
    for _ in range(2):
        delivery_of(event_about(order_of("ada")))
    event = event_about(order_of("bob"))
    for number in range(60):
        delivery_of(event, State.SUCCEEDED, effect=f"shop.number_{number}")

    assert int(ada.post("/api/purchases/")["Retry-After"]) <= 6  # five seconds, and a fifth


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.RUNNING, State.POISONED, State.CANCELLED])
def test_what_does_not_wait_does_not_count(ada, state):
    """The quota is of what waits, and not of what was ever ordered."""
    for _ in range(5):
        delivery_of(event_about(order_of("ada")), state)

    assert ada.post("/api/purchases/").status_code == 202


def test_a_quota_costs_two_queries(ada, django_assert_num_queries):
    """The customer's rows, and what waits because of them; PostgreSQL needs a savepoint for its limit."""
    for _ in range(2):
        delivery_of(event_about(order_of("ada")))
    ada.post("/api/purchases/")  # how fast its queues are worked off is seen for two seconds
    around = {"postgresql": 4, "mysql": 0, "sqlite": 0}[connection.vendor]

    with django_assert_num_queries(2 + 2 + around):  # and: the session and its user
        ada.post("/api/purchases/")


def test_a_throttle_without_a_limit_is_refused():
    """When its module is loaded."""
    with pytest.raises(ImproperlyConfigured, match="Forgetful: say max_age"):
        type("Forgetful", (ShedLoad,), {})
    with pytest.raises(ImproperlyConfigured, match="subclass it"):
        ShedLoad().allow_request(None, None)
