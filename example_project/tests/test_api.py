"""The shop's API as a program meets it, over a socket."""

from __future__ import annotations

import io
from base64 import b64encode

import pytest
import requests
import schemathesis
from django.contrib.auth.models import User
from django.core.management import call_command
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as effort
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from example_project.shop.models import Order
from reliable_effects.models import Delivery
from reliable_effects.testing import run_effects

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
TEAPOT = {"product": "teapot", "quantity": 2}


def header_of(name: str) -> dict[str, str]:
    User.objects.create_user(name, f"{name}@example.com", "secret")
    return {"Authorization": "Basic " + b64encode(f"{name}:secret".encode()).decode()}


@pytest.fixture
def ada(live_server, settings) -> requests.Session:
    # Each request logs in: a hash that is slow on purpose would be all that is measured.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    session = requests.Session()
    session.headers.update(header_of("ada"))
    session.base = live_server.url
    yield session
    session.close()


def test_an_order_is_placed_and_its_customer_sees_how_it_goes(ada, partners):  # noqa: ARG001  # they answer
    placed = ada.post(f"{ada.base}/api/orders/", json=TEAPOT)
    before = ada.get(placed.headers["Location"]).json()

    run_effects()
    after = ada.get(placed.headers["Location"]).json()

    assert (placed.status_code, before["status"], after["status"]) == (202, "pending", "succeeded")
    assert after["progress"] == {"done": 9, "total": 9}
    assert after["result"] == Order.objects.get().get_absolute_url()


def test_an_order_that_is_sent_twice_is_placed_once(ada):
    """The first answer got lost; the second is the same, with the same address."""
    key = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}

    first, second = (
        ada.post(f"{ada.base}/api/orders/", json=TEAPOT, headers=key) for _ in range(2)
    )

    assert [first.status_code, second.status_code] == [202, 202]
    assert second.content == first.content
    for name in ("Location", "Operation-Location", "Retry-After"):
        assert second.headers[name] == first.headers[name]
    assert second.headers["Idempotent-Replayed"] == "true"
    assert Order.objects.count() == 1
    assert Delivery.objects.count() == 10


def test_a_declined_card_leaves_nothing(ada):
    answer = ada.post(f"{ada.base}/api/orders/", json=TEAPOT | {"card": "0002"})

    assert answer.status_code == 402
    assert not Order.objects.exists()
    assert not Delivery.objects.exists()


def test_other_customers_see_nothing_of_it(ada):
    location = ada.post(f"{ada.base}/api/orders/", json=TEAPOT).headers["Location"]
    bob = header_of("bob")

    assert requests.get(location, headers=bob, timeout=5).status_code == 404
    assert requests.get(f"{ada.base}/api/effects/", headers=bob, timeout=5).json()["results"] == []
    assert requests.get(location, timeout=5).status_code == 401


def test_who_has_no_address_owns_nothing_and_places_nothing(ada):
    """Else all who have none would see each other's orders."""
    ada.post(f"{ada.base}/api/orders/", json=TEAPOT)
    Order.objects.update(email="")
    User.objects.update(email="")

    assert ada.get(f"{ada.base}/api/effects/").json()["results"] == []
    assert ada.post(f"{ada.base}/api/orders/", json=TEAPOT).status_code == 400


def test_the_schema_is_valid_and_says_so_without_a_warning():
    """Programs are generated from it."""
    out = io.StringIO()

    call_command("spectacular", "--validate", "--fail-on-warn", stdout=out, stderr=out)

    assert "openapi: 3" in out.getvalue()
    for ours in ("IdempotentMixin", "EffectStatusViewSet", "owned", "Only described"):
        assert ours not in out.getvalue()  # docstrings for who writes the views
    assert "warning" not in out.getvalue().lower()


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.mark.timeout(100)
def test_nothing_that_can_be_sent_is_a_server_error(ada):
    """Nor is any answer one that the schema does not know. Half of what is sent breaks its rules."""
    placed = ada.post(f"{ada.base}/api/orders/", json=TEAPOT).json()
    loaded = schemathesis.openapi.from_url(f"{ada.base}/api/schema/?format=json")
    answers = []

    for result in loaded.get_all_operations():
        operation = result.ok()
        good, bad = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)

        @seed(20261129)
        @effort(
            max_examples=40,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(good | bad)
        def send(case):
            if "id" in case.path_parameters and len(answers) % 2:
                case.path_parameters["id"] = placed["id"]  # nobody guesses one
            answers.append(case.call_and_validate(session=ada, checks=CHECKS))

        send()

    assert len(answers) > 100
    assert {answer.status_code for answer in answers} >= {200, 202, 400, 404}
