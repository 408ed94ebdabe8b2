"""Every row of the table that says what an answer means, on real sockets, with both clients."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from datetime import timedelta

import httpx
import pytest
import requests

from reliable_effects import Backoff
from reliable_effects.outbox.models import Attempt
from reliable_effects.outbox.states import State
from reliable_effects.outgoing import (
    AnswerLost,
    Doubtful,
    NotSent,
    Refused,
    RequestChanged,
    TryLater,
    Unavailable,
)
from reliable_effects.outgoing.models import Known, OutgoingCall
from tests.outbox.conftest import carry_out, pending_delivery
from tests.outgoing.conftest import DAY, KEY, calling
from tests.outgoing.partner import answer, break_off, drip, drop, hang, nonsense, reset

# Nothing of it depends on the database, and what would is in test_send.
pytestmark = [pytest.mark.django_db, pytest.mark.one_database]

SOON = timedelta(seconds=0.5)

STRIPE = {"body": b'{"error": {"type": "idempotency_error"}}'}


def problem(code: str) -> dict:
    return {"body": b'{"code": "%s"}' % code.encode(), "Content_Type": "application/problem+json"}


SILENT = {
    "drop": drop,
    "reset": reset,
    "hang": hang,
    "drip": drip,
    "half": break_off,
    "junk": nonsense,
}

# What the partner does with a first send; what is known then, and what the effect is told
FIRST = [
    *((name, mood, Known.UNKNOWN, AnswerLost) for name, mood in SILENT.items()),
    ("200", answer(200), Known.DONE, None),
    ("202", answer(202), Known.DONE, None),
    ("409", answer(409), Known.IN_PROGRESS, Unavailable),
    ("409 later", answer(409, Retry_After="1"), Known.IN_PROGRESS, TryLater),
    ("409 transient", answer(409, transient_error="true"), Known.IN_PROGRESS, Unavailable),
    ("429", answer(429), Known.TURNED_AWAY, Unavailable),
    ("429 later", answer(429, Retry_After="1"), Known.TURNED_AWAY, TryLater),
    ("503", answer(503), Known.UNKNOWN, Unavailable),
    ("503 later", answer(503, Retry_After="1"), Known.UNKNOWN, TryLater),
    ("500", answer(500), Known.UNKNOWN, Unavailable),
    ("424", answer(424), Known.UNKNOWN, Unavailable),
    ("408", answer(408), Known.UNKNOWN, Unavailable),
    ("500 stored", answer(500, Idempotent_Replayed="true"), Known.UNKNOWN, Doubtful),
    ("302", answer(302, Location="/x"), Known.UNKNOWN, Doubtful),
    ("308", answer(308, Location="/x"), Known.REFUSED, Refused),
    ("400", answer(400), Known.REFUSED, Refused),
    ("402", answer(402), Known.REFUSED, Refused),
    ("422", answer(422), Known.UNKNOWN, Refused),  # other partners say "this key was used" so
    ("400 of the key", answer(400, b"Idempotency conflict"), Known.UNKNOWN, Refused),
    ("400 mismatch", answer(400, **STRIPE), Known.UNKNOWN, RequestChanged),
    ("422 reused", answer(422, **problem("idempotency-key-reused")), Known.UNKNOWN, RequestChanged),
    ("409 uncertain", answer(409, **problem("operation-uncertain")), Known.UNKNOWN, Doubtful),
    ("409 not applied", answer(409, **problem("operation-not-applied")), Known.REFUSED, Refused),
    ("409 expired", answer(409, **problem("operation-result-expired")), Known.DONE, Doubtful),
    ("500 no", answer(500, Stripe_Should_Retry="false"), Known.UNKNOWN, Doubtful),
    ("429 no", answer(429, Stripe_Should_Retry="false"), Known.TURNED_AWAY, Refused),
    ("409 no", answer(409, Stripe_Should_Retry="false"), Known.IN_PROGRESS, Doubtful),
    ("400 yes", answer(400, Stripe_Should_Retry="true"), Known.REFUSED, Unavailable),
]

# The same after a send whose answer was lost: what an answer says of that one
REPLAY = [
    *((name, mood, Known.UNKNOWN, AnswerLost) for name, mood in SILENT.items()),
    ("200", answer(200), Known.DONE, None),
    ("409", answer(409), Known.IN_PROGRESS, Unavailable),
    ("429", answer(429), Known.UNKNOWN, Unavailable),
    ("429 later", answer(429, Retry_After="1"), Known.UNKNOWN, TryLater),
    ("429 no", answer(429, Stripe_Should_Retry="false"), Known.UNKNOWN, Doubtful),
    ("503", answer(503), Known.UNKNOWN, Unavailable),
    ("500", answer(500), Known.UNKNOWN, Unavailable),
    ("400", answer(400), Known.UNKNOWN, Doubtful),
    ("402", answer(402), Known.UNKNOWN, Doubtful),
    ("402 stored", answer(402, Idempotent_Replayed="true"), Known.REFUSED, Refused),
    ("422 reused", answer(422, **problem("idempotency-key-reused")), Known.UNKNOWN, RequestChanged),
]

# To a partner who remembers no keys
UNKEYED = [
    *((name, mood, Known.UNKNOWN, Doubtful) for name, mood in SILENT.items()),
    ("200", answer(200), Known.DONE, None),
    ("409", answer(409), Known.REFUSED, Refused),
    ("429", answer(429), Known.TURNED_AWAY, Unavailable),
    ("503", answer(503), Known.UNKNOWN, Doubtful),
    ("503 later", answer(503, Retry_After="1"), Known.UNKNOWN, Doubtful),
    ("500", answer(500), Known.UNKNOWN, Doubtful),
    ("500 yes", answer(500, Stripe_Should_Retry="true"), Known.UNKNOWN, Doubtful),
    ("400", answer(400), Known.REFUSED, Refused),
    ("422", answer(422), Known.REFUSED, Refused),
]


def table(rows):
    return pytest.mark.parametrize("row", [row[1:] for row in rows], ids=[row[0] for row in rows])


def send(make_effect, bank, client, **options):
    """One attempt of a delivery of its own: what it was told, and what is known."""
    told = []

    def charge(_order, ctx):
        try:
            ctx.send(
                "POST", bank.url, key=KEY, json={}, client=client, timeout=SOON,
                **{"window": DAY} | options,
            )  # fmt: skip
        except Exception as error:
            told.append(type(error))
            raise
        told.append(None)

    delivery = pending_delivery(make_effect(charge))

    def attempt():
        carry_out(delivery)
        return told[-1], OutgoingCall.objects.get().known

    return attempt


@table(FIRST)
def test_what_a_first_send_shows(row, partner, client, make_effect):
    mood, known, told = row
    bank = partner(mood)

    assert send(make_effect, bank, client)() == (told, known)
    assert len(bank.arrivals) == 1


@table(REPLAY)
def test_what_a_second_send_shows_of_the_first(row, partner, client, make_effect):
    mood, known, told = row
    bank = partner(drop, mood)
    attempt = send(make_effect, bank, client)
    attempt()

    assert attempt() == (told, known)
    assert len(set(bank.keys)) == 1


@table(UNKEYED)
def test_a_partner_without_keys_is_never_sent_what_may_have_happened(
    row, partner, client, make_effect
):
    mood, known, told = row
    bank = partner(mood)

    assert send(make_effect, bank, client, window=None)() == (told, known)


@pytest.mark.parametrize("where", ["refused", "no such name", "silent", "tls hangs", "no tls"])
def test_without_a_connection_nothing_was_sent(where, client, partner, make_effect):
    """So it is tried again, whoever the partner is."""
    bank = partner(drop)
    chatty = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_greet, args=(chatty,), daemon=True).start()
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    blockers = [_connect(full.getsockname()[1]) for _ in range(4)] if where == "silent" else []
    addresses = {
        "refused": f"http://127.0.0.1:{_free_port()}/",
        "no such name": "http://nobody.invalid/",
        "silent": f"http://127.0.0.1:{full.getsockname()[1]}/",  # its queue is full: no SYN is heard
        "tls hangs": f"https://127.0.0.1:{bank.port}/",
        "no tls": f"https://127.0.0.1:{chatty.getsockname()[1]}/",
    }
    charge = calling(addresses[where], window=None, client=client, timeout=SOON)
    delivery = pending_delivery(make_effect(charge))

    carry_out(delivery)
    for blocker in (*blockers, full, chatty):
        blocker.close()

    assert delivery.state == State.PENDING
    assert Attempt.objects.get().exception_type.endswith(NotSent.__name__)
    assert OutgoingCall.objects.get().known == Known.NOT_SENT


def _greet(server: socket.socket) -> None:
    with suppress(OSError):
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"220 this is no TLS")
            connection.recv(1000)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def _connect(port: int) -> socket.socket:
    connection = socket.socket()
    connection.setblocking(False)
    connection.connect_ex(("127.0.0.1", port))
    return connection


def test_what_could_not_be_sent_again_leaves_the_first_send_in_doubt(partner, client, make_effect):
    """That nothing went out now says nothing of then."""
    bank = partner(drop)
    attempt = send(make_effect, bank, client)
    attempt()
    bank.close()

    assert attempt() == (NotSent, Known.UNKNOWN)


def test_the_last_attempt_that_is_not_answered_leaves_a_question(partner, client, make_effect):
    """A poison pill would be redriven; this must be asked after first."""
    bank = partner(drop)
    effect = make_effect(calling(bank.url, client=client), max_attempts=2, backoff=Backoff())
    delivery = pending_delivery(effect, attempts=1)

    carry_out(delivery)

    assert (delivery.state, delivery.look_at) == (State.UNCERTAIN, None)


def test_what_is_done_stays_done_whatever_is_answered_later(partner, client, make_effect):
    """The run died after the answer; the partner is busy when it is asked for it again."""
    bank = partner(answer(200), answer(429), drop, answer(200))

    def charge(_order, ctx):
        ctx.send("POST", bank.url, key=KEY, window=DAY, client=client)
        if len(bank.arrivals) < 4:
            raise ValueError("what follows failed")

    delivery = pending_delivery(make_effect(charge))
    for _ in range(3):
        carry_out(delivery)
        assert OutgoingCall.objects.get().known == Known.DONE
    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert bank.keys == [delivery.idempotency_key] * 4


@pytest.mark.parametrize("library", ["requests", "httpx"])
def test_a_hook_that_raises_for_the_status_does_not_hide_the_answer(library, partner, make_effect):
    """Many a session has one."""
    bank = partner(answer(429, Retry_After="1"))
    if library == "requests":
        client = requests.Session()
        client.hooks["response"].append(lambda response, **_: response.raise_for_status())
    else:
        client = httpx.Client(
            event_hooks={"response": [lambda response: response.raise_for_status()]}
        )

    with client:
        assert send(make_effect, bank, client)() == (TryLater, Known.TURNED_AWAY)
