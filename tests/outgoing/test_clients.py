"""What surrounds a call (a handler, hooks, parameters, a .netrc) says nothing false of it."""

from __future__ import annotations

import gzip
import socket

import httpx
import pytest
import requests

from reliable_effects.outbox.models import Attempt
from reliable_effects.outbox.states import State
from reliable_effects.outgoing import Parameter
from reliable_effects.outgoing.models import Known, OutgoingCall
from tests.outbox.conftest import carry_out, pending_delivery
from tests.outgoing.conftest import DAY, KEY, calling
from tests.outgoing.partner import answer, drop

# As test_table: nothing of it depends on the database.
pytestmark = [pytest.mark.django_db, pytest.mark.one_database]


def nobody() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}/"


def known() -> str:
    return OutgoingCall.objects.get().known


@pytest.mark.parametrize("window", [None, DAY])
def test_an_error_that_is_being_handled_is_no_cause_of_the_calls_own(
    window, partner, client, make_effect
):
    """The cheaper partner could not be reached, and this one's answer was lost."""
    bank, gone = partner(drop), nobody()

    def charge(_order, ctx):
        try:
            requests.get(gone, timeout=1)
        except requests.ConnectionError:
            ctx.send("POST", bank.url, key=KEY, window=window, client=client)

    carry_out(pending_delivery(make_effect(charge)))

    assert len(bank.arrivals) == 1
    assert known() == Known.UNKNOWN


@pytest.mark.parametrize("library", ["requests", "httpx"])
def test_a_hook_that_cannot_connect_does_not_undo_an_answered_call(library, partner, make_effect):
    """It reports to a service that is down; the charge stands."""
    bank, gone = partner(answer()), nobody()
    if library == "requests":
        client = requests.Session()
        client.hooks["response"].append(lambda *_, **__: requests.post(gone, timeout=1))
    else:
        client = httpx.Client(event_hooks={"response": [lambda _: httpx.post(gone)]})
    delivery = pending_delivery(make_effect(calling(bank.url, client=client, window=None)))

    with client:
        carry_out(delivery)
        carry_out(delivery)

    assert len(bank.arrivals) == 1
    assert known() == Known.UNKNOWN
    assert delivery.state == State.UNCERTAIN


def test_a_status_that_a_hook_raises_of_another_call_is_not_ours(partner, make_effect):
    bank, audit = partner(answer(200)), partner(answer(400))
    client = requests.Session()
    client.hooks["response"].append(
        lambda *_, **__: requests.post(audit.url, timeout=5).raise_for_status()
    )

    with client:
        carry_out(pending_delivery(make_effect(calling(bank.url, client=client))))

    assert known() == Known.UNKNOWN


def test_parameters_of_the_client_stand_beside_ours(partner, make_effect):
    """And do not replace the key."""
    bank = partner(answer())
    with httpx.Client(params={"version": "1"}) as client:
        send = calling(f"{bank.url}?order=7", key=Parameter("Token"), client=client)
        delivery = pending_delivery(make_effect(send))
        carry_out(delivery)

    for part in ("version=1", "order=7", f"Token={delivery.idempotency_key}"):
        assert part in bank.arrivals[0].line


def test_a_refusal_that_a_hook_left_unread_may_be_about_the_key(partner, make_effect):
    """So nothing says that it surely did not happen."""
    bank = partner(answer(409, b'{"code": "idempotency-key-reused"}'), answer(400, b"key reused"))
    with httpx.Client(event_hooks={"response": [lambda got: got.raise_for_status()]}) as client:
        for _ in range(2):
            carry_out(pending_delivery(make_effect(calling(bank.url, client=client))))

    assert not OutgoingCall.objects.filter(known=Known.REFUSED).exists()


def test_a_netrc_does_not_replace_the_header_that_is_given(
    partner, make_effect, tmp_path, monkeypatch
):
    bank = partner(answer())
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ops password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    send = calling(bank.url, headers={"Authorization": "Bearer right"})

    carry_out(pending_delivery(make_effect(send)))

    assert bank.arrivals[0].headers["authorization"] == "Bearer right"


def test_what_is_packed_is_read_no_further_than_the_limit_either(
    partner, client, make_effect, settings
):
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "OUTGOING_ANSWER_LIMIT": 1000}
    bank = partner(
        answer(200, gzip.compress(b"\0" * 10_000_000), Content_Encoding="gzip"),
        answer(
            200, gzip.compress(gzip.compress(b"\0" * 10_000_000)), Content_Encoding="gzip, gzip"
        ),
    )
    deliveries = [pending_delivery(make_effect(calling(bank.url, client=client))) for _ in "12"]

    for delivery in deliveries:
        carry_out(delivery)

    assert set(OutgoingCall.objects.values_list("known", flat=True)) == {Known.DONE}
    assert {delivery.state for delivery in deliveries} == {State.UNCERTAIN}


@pytest.mark.parametrize("wait", ["0", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_retry_after_that_is_over_is_no_advice(wait, partner, client, make_effect):
    """As a snooze it would be asked again at once, for a week, and spend no attempt."""
    bank = partner(answer(503, Retry_After=wait))
    effect = make_effect(calling(bank.url, client=client), max_attempts=3)
    delivery = pending_delivery(effect)

    carry_out(delivery)

    assert (delivery.state, delivery.attempts) == (State.PENDING, 1)
    assert Attempt.objects.get().exception_type.endswith("Unavailable")
