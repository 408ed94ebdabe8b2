"""What partners tell by themselves comes twice and out of order, and is believed once and in order."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import pytest
import requests
from django.conf import settings
from django.db import connections

from example_project.partners.webhooks import PATH, Webhooks, sign
from example_project.processes import until
from example_project.shop.models import Capture, Order
from example_project.tests.orders import place
from example_project.told import told_wrongly
from reliable_effects.inbox.models import InboxMessage
from reliable_effects.testing import run_effects

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


class Bank:
    """Somebody who knows the secret, and what each request was answered with."""

    def __init__(self, url: str) -> None:
        self.url = url + PATH

    def tell(self, message_id: str, *, signed_as: str = "", age: int = 0, **facts) -> int:
        body = json.dumps({"type": "payment.captured", "amount": "39.80", **facts}).encode()
        return self.post(message_id, body, signed_as=signed_as, age=age)

    def post(self, message_id: str, body: bytes, *, signed_as: str = "", age: int = 0) -> int:
        stamp = str(int(time.time()) - age)
        signature = sign(settings.WEBHOOK_SECRET, signed_as or message_id, stamp, body)
        return self.send(message_id, body, stamp, signature)

    def send(self, message_id: str, body: bytes, stamp: str, signature: str) -> int:
        headers = {
            "Webhook-Id": message_id,
            "Webhook-Timestamp": stamp,
            "Webhook-Signature": signature,
        }
        return requests.post(self.url, body, headers=headers, timeout=20).status_code

    def move(self, order: Order, version: int, status: str) -> int:
        return self.tell(
            f"parcel-{version}",
            type="parcel.moved",
            order=order.reference,
            version=version,
            status=status,
        )


@pytest.fixture
def bank(live_server) -> Bank:
    return Bank(live_server.url)


@pytest.fixture
def webhooks(partners, live_server) -> Iterator[Webhooks]:
    """The partners' own, which reach the shop over a socket."""
    told = Webhooks(live_server.url, seed=7, step=0.05, stray=0.3)
    partners.tell_through(told)
    told.start()
    yield told
    told.close()


@pytest.mark.usefixtures("partners")
def test_whatever_order_they_come_in_the_shop_ends_as_the_last_one_says(webhooks):
    """Some twice, some at the same moment, some overtaken by the next."""
    orders = [place() for _ in range(6)]

    run_effects()
    assert any(_all_told(webhooks) for _ in until(60))

    messages = webhooks.messages()
    assert len(messages) == 4 * len(orders)
    assert any(message["tries"] > 1 for message in messages)
    assert list(told_wrongly(messages)) == []
    assert set(Order.objects.values_list("parcel_status", flat=True)) == {"delivered"}
    assert Capture.objects.count() == len(orders)


def _all_told(webhooks: Webhooks) -> bool:
    messages = webhooks.messages()
    waits = webhooks.has_more()
    return bool(messages) and not waits and all(m["answers"] for m in messages)


def test_the_books_of_the_partners_are_compared_to_the_letter():
    """`make prove` judges by it."""
    order = place(reference="A-1")
    messages = [
        {"type": "payment.captured", "order": "A-1"},
        {"type": "parcel.moved", "order": "A-1", "version": 2, "status": "on the way"},
        {"type": "parcel.moved", "order": "A-1", "version": 1, "status": "collected"},
    ]
    Order.objects.update(parcel_status="collected")

    assert list(told_wrongly(messages)) == [
        "A-1: the parcel is on the way, the shop says 'collected'",
        "A-1: captured 1 times, in the books 0 times",
    ]
    Order.objects.update(parcel_status="on the way")
    Capture.objects.create(order=order, charge_id="c-1", amount=1)
    assert list(told_wrongly(messages)) == []
    Capture.objects.create(order=order, charge_id="c-1", amount=1)
    assert len(list(told_wrongly(messages))) == 1


def test_a_message_that_comes_twice_is_booked_once(bank):
    order = place()

    found = [bank.tell("m-1", order=order.reference, charge="c-1") for _ in range(3)]

    assert found == [204, 204, 204]
    assert Capture.objects.count() == 1


def test_the_same_message_at_the_same_moment_is_booked_once(bank):
    """Who is second is told to come again, or waits for the database."""
    order = place()
    found: list[int] = []

    def tell() -> None:
        found.append(bank.tell("m-1", order=order.reference, charge="c-1"))
        connections.close_all()

    threads = [threading.Thread(target=tell) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(found) == 5
    assert set(found) <= {204, 503}
    assert bank.tell("m-1", order=order.reference, charge="c-1") == 204
    assert Capture.objects.count() == 1


def test_an_overtaken_step_is_dropped(bank):
    order = place()

    found = [bank.move(order, 3, "delivered"), bank.move(order, 1, "collected")]
    order.refresh_from_db()

    assert found == [204, 204]
    assert (order.parcel_status, order.parcel_version) == ("delivered", 3)


def test_the_order_page_shows_where_the_parcel_is(bank, client):
    order = place()
    bank.move(order, 2, "on the way")
    bank.tell("m-1", order=order.reference, charge="c-1")

    page = client.get(order.get_absolute_url()).content.decode()

    assert "<strong>on the way</strong>" in page
    assert "39.80 € captured" in page


def test_the_same_id_with_another_amount_is_refused(bank):
    order = place()
    bank.tell("m-1", order=order.reference, charge="c-1")

    assert bank.tell("m-1", order=order.reference, charge="c-1", amount="3980.00") == 409
    assert InboxMessage.objects.get().conflicts == 1
    assert Capture.objects.count() == 1


def test_what_overtakes_its_own_order_comes_again(bank):
    """An answer of 2xx would lose it."""
    assert bank.tell("m-1", order="A-1", charge="c-1") == 503
    order = place(reference="A-1")

    assert bank.tell("m-1", order="A-1", charge="c-1") == 204
    assert Capture.objects.get().order == order


def test_what_the_shop_does_not_know_is_no_reason_to_send_it_for_days(bank):
    assert bank.tell("m-1", type="weather.changed") == 204


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[]", b"[" * 100_000, b"{}", b'{"type": "parcel.moved"}'],
    ids=lambda body: repr(body[:30]),
)
def test_what_cannot_be_read_is_refused_and_claims_nothing(bank, body):
    """The sender may mend it, and send it under the same id."""
    assert bank.post("m-1", body) == 400
    assert not InboxMessage.objects.exists()


@pytest.mark.parametrize(
    "facts",
    [
        {"type": ["a"]},
        {"order": None},
        {"charge": "x" * 50},
        *({"amount": amount} for amount in ("abc", None, "1e40")),
        *({"type": "parcel.moved", "version": v, "status": "x"} for v in (2**70, -1, "2")),
        {"type": "parcel.moved", "version": 1, "status": "x" * 50},
        {"type": "parcel.moved", "version": 1, "status": ["x"]},
    ],
    ids=str,
)
def test_what_says_nothing_sensible_is_refused_and_claims_nothing(bank, facts):
    order = place()

    assert bank.tell("m-1", **{"order": order.reference, "charge": "c-1", **facts}) == 400
    assert not InboxMessage.objects.exists()


@pytest.mark.parametrize(
    "forged",
    [
        {"signed_as": "m-2"},
        {"age": 400},
        {"age": -400},
    ],
    ids=["of another message", "old", "of the future"],
)
def test_a_signature_of_another_message_or_time_is_refused(bank, forged):
    order = place()

    assert bank.tell("m-1", order=order.reference, charge="c-1", **forged) == 401
    assert not InboxMessage.objects.exists()


@pytest.mark.parametrize(
    ("message_id", "stamp", "signature"),
    [
        ("m-1", "now", "v1=00"),
        ("m-1", "9" * 5000, "v1=00"),
        ("m-1", "1", ""),
        ("m-1", "1", "v1=\xe4"),
        ("", "1", "v1=00"),
    ],
)
def test_what_is_no_signature_is_refused(bank, message_id, stamp, signature):
    """Nothing that a stranger sends is an error of ours."""
    assert bank.send(message_id, b"{}", stamp, signature.encode("latin-1")) == 401
