"""One call under one key: what is sent, what is never sent, and what stands in the rows before it."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import requests
from django.db import connections, transaction
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from reliable_effects.clock import moved
from reliable_effects.outbox.models import Attempt
from reliable_effects.outbox.states import Reason, State
from reliable_effects.outgoing import BodyField, Header, Parameter, Repeatability, TryLater
from reliable_effects.outgoing.models import Known, OutgoingCall
from reliable_effects.testing import run_effects
from tests.outbox.conftest import carry_out, pending_delivery
from tests.outgoing.conftest import DAY, KEY, calling
from tests.outgoing.partner import answer, drop, hang, much

pytestmark = pytest.mark.django_db

really_committed = pytest.mark.django_db(transaction=True)


def the_call() -> OutgoingCall:
    return OutgoingCall.objects.get()


def test_the_answer_is_the_clients_own(partner, client, make_effect):
    """Who knows requests, or httpx, has nothing to learn."""
    bank = partner(answer(201, b'{"id": "ch_7"}', Request_Id="req_1"))
    charge = calling(bank.url, client=client)
    delivery = pending_delivery(make_effect(charge))

    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert isinstance(charge.answers[0], requests.Response | httpx.Response)
    assert charge.answers[0].json() == {"id": "ch_7"}
    assert bank.keys == [delivery.idempotency_key]
    call = the_call()
    assert (call.known, call.status, call.request_id) == (Known.DONE, 201, "req_1")
    assert (call.delivery_id, call.times_sent, str(call.key)) == (delivery.pk, 1, bank.keys[0])


def test_without_a_client_one_connection_of_its_own_is_made(partner, make_effect):
    bank = partner(answer())
    charge = calling(bank.url)
    carry_out(pending_delivery(make_effect(charge)))

    assert charge.answers[0].json() == {"id": "ch_1"}


@really_committed
def test_that_it_is_sent_is_committed_before_the_first_byte(partner, client, make_effect):
    """A process that dies after it must leave the truth: it may have happened."""
    seen = []

    def look(connection, arrival):
        # In the partner's thread, and so on a connection of its own.
        seen.extend(OutgoingCall.objects.values_list("known", "times_sent"))
        answer()(connection, arrival)
        connections.close_all()

    bank = partner(look)

    carry_out(pending_delivery(make_effect(calling(bank.url, client=client))))

    assert seen == [(Known.UNKNOWN, 1)]
    assert the_call().known == Known.DONE


def test_several_calls_of_one_effect_have_a_key_each(partner, make_effect):
    bank = partner(answer())
    told = []

    def two(_order, ctx):
        ctx.send("POST", bank.url, key=KEY, window=DAY, call="charge", json={})
        ctx.send("POST", bank.url, key=KEY, window=DAY, call="refund", json={"n": 2})
        told.append([ctx.key_for("charge"), ctx.key_for("refund")])

    carry_out(pending_delivery(make_effect(two)))

    assert [bank.keys] == told
    assert sorted(OutgoingCall.objects.values_list("call", flat=True)) == ["charge", "refund"]


@pytest.mark.parametrize(
    "case",
    [
        (Header("X-Key"), {"json": {"a": 1}}, lambda a: a.headers["x-key"]),
        (BodyField("token"), {"json": {"a": 1}}, lambda a: json.loads(a.body)["token"]),
        (BodyField("token"), {"data": {"a": "1"}}, lambda a: parse_qs(a.body.decode())["token"][0]),
        (
            Parameter("ClientToken"),
            {"data": b"raw"},
            lambda a: parse_qs(urlsplit(a.line.split()[1]).query)["ClientToken"][0],
        ),
        (Repeatability(), {"json": {"a": 1}}, lambda a: a.headers["repeatability-request-id"]),
    ],
    ids=["header", "json", "form", "parameter", "azure"],
)
def test_the_key_is_where_the_partner_wants_it(case, partner, client, make_effect):
    place, body, find = case
    bank = partner(answer())
    options = {"json": None, **body}
    delivery = pending_delivery(make_effect(calling(bank.url, key=place, client=client, **options)))

    carry_out(delivery)

    assert find(bank.arrivals[0]) == delivery.idempotency_key


def test_azure_is_told_when_the_key_was_first_sent(partner, make_effect):
    """And told the same at the second time."""
    bank = partner(drop, answer())
    delivery = pending_delivery(make_effect(calling(bank.url, key=Repeatability())))

    carry_out(delivery)
    with moved(timedelta(minutes=1)):
        carry_out(delivery)

    first, second = (a.headers["repeatability-first-sent"] for a in bank.arrivals)
    assert first == second
    assert abs(parsedate_to_datetime(first) - the_call().first_sent_at) < timedelta(seconds=2)


@really_committed
def test_what_is_sent_again_is_the_same_byte_for_byte(partner, client, make_effect):
    """A partner compares, and refuses what differs."""
    bank = partner(drop, answer())
    bodies = iter([{"b": 1, "a": "ü"}, {"a": "ü", "b": 1}])

    def charge(_order, ctx):
        ctx.send("POST", bank.url, key=KEY, window=DAY, json=next(bodies), client=client)

    delivery = pending_delivery(make_effect(charge))
    carry_out(delivery)
    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert bank.arrivals[0].body == bank.arrivals[1].body
    assert bank.keys == [delivery.idempotency_key] * 2


def test_another_request_under_the_same_key_is_never_sent(partner, client, make_effect):
    bank = partner(drop, answer())
    amounts = iter([5, 6])

    def charge(_order, ctx):
        ctx.send("POST", bank.url, key=KEY, window=DAY, json={"n": next(amounts)}, client=client)

    delivery = pending_delivery(make_effect(charge))
    carry_out(delivery)
    carry_out(delivery)

    assert len(bank.arrivals) == 1
    assert (delivery.state, delivery.reason) == (State.POISONED, Reason.REFUSED)
    assert "another address or body" in Attempt.objects.order_by("-pk").first().message


@pytest.mark.parametrize("library", ["requests", "httpx"])
def test_the_clients_own_retries_and_redirects_are_off_for_this_call(library, partner, make_effect):
    """They would multiply ours, and a redirected POST may be another request."""
    bank = partner(answer(503, Retry_After="0"), answer(302, Location="/elsewhere"))
    if library == "requests":
        client = requests.Session()
        retry = Retry(3, status_forcelist=[503], allowed_methods=None, redirect=3)
        client.mount("http://", HTTPAdapter(max_retries=retry))
    else:
        client = httpx.Client(transport=httpx.HTTPTransport(retries=3), follow_redirects=True)
    delivery = pending_delivery(make_effect(calling(bank.url, client=client)))

    with client:
        carry_out(delivery)
        assert len(bank.arrivals) == 1
        carry_out(delivery)
        assert len(bank.arrivals) == 2
        if library == "requests":
            assert client.get_adapter("http://").max_retries is retry  # the client is as it was


def test_a_call_never_takes_longer_than_is_left_of_the_run(partner, client, make_effect):
    """Past its deadline somebody else may have the delivery."""
    bank = partner(hang)
    effect = make_effect(
        calling(bank.url, client=client, timeout=timedelta(minutes=5)), timeout=timedelta(seconds=1)
    )
    delivery = pending_delivery(effect)

    carry_out(delivery)

    assert delivery.state == State.PENDING
    assert "no answer came" in Attempt.objects.get().message


def test_an_answer_is_read_no_further_than_the_limit(partner, client, make_effect, settings):
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "OUTGOING_ANSWER_LIMIT": 1000}
    bank = partner(much(100_000))
    delivery = pending_delivery(make_effect(calling(bank.url, client=client)))

    carry_out(delivery)

    assert delivery.state == State.UNCERTAIN
    assert the_call().known == Known.DONE


def test_neither_keys_nor_headers_nor_bodies_are_logged_or_kept(
    partner, client, make_effect, caplog
):
    """Attempts are read by more people than may charge cards."""
    bank = partner(answer(402, b'{"error": "card 4242"}', Set_Cookie="sid=s3cret"), answer(200))
    caplog.set_level(logging.INFO)
    options = {"headers": {"Authorization": "Bearer hunter2hunter2"}, "json": {"card": "4242"}}
    delivery = pending_delivery(
        make_effect(calling(f"{bank.url}/p4th", key=Parameter("Token"), client=client, **options))
    )

    carry_out(delivery)

    kept = Attempt.objects.get()
    told = caplog.text + kept.message + kept.traceback
    assert "402" in kept.message
    for secret in (delivery.idempotency_key, "4242", "hunter2", "s3cret", "p4th"):
        assert secret not in told


@pytest.mark.fault("a partner says when to come again", rows="W15")
def test_retry_after_is_a_snooze_and_spends_no_attempt(partner, client, make_effect):
    bank = partner(answer(429, Retry_After="90"), answer())
    delivery = pending_delivery(make_effect(calling(bank.url, client=client), max_attempts=1))

    carry_out(delivery)
    assert (delivery.state, delivery.attempts) == (State.PENDING, 0)
    carry_out(delivery)
    assert len(bank.arrivals) == 1  # not before its time
    with moved(timedelta(seconds=91)):
        carry_out(delivery)

    assert delivery.state == State.SUCCEEDED


def test_an_effect_may_catch_what_a_partner_says(partner, client, make_effect):
    bank = partner(answer(429, b'{"wait": 1}', Retry_After="3600"))
    caught = []

    def charge(_order, ctx):
        try:
            ctx.send("POST", bank.url, key=KEY, window=DAY, client=client)
        except TryLater as later:
            caught.append((later.status, later.response.json(), later.span))

    carry_out(pending_delivery(make_effect(charge)))

    assert caught == [(429, {"wait": 1}, timedelta(hours=1))]


def test_in_a_users_test_case_it_is_sent_as_on_a_worker(partner, make_effect):
    """The test's own transaction does not count."""
    bank = partner(answer())
    effect = make_effect(calling(bank.url))
    block = transaction.atomic()
    block._from_testcase = True
    with block:
        pending_delivery(effect)
        run_effects()

    assert len(bank.arrivals) == 1
