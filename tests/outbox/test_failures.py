"""Recording a failure must not fail, must not show a secret, and must not take long."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as property_settings
from hypothesis import strategies as st

from reliable_effects.outbox.failures import (
    attempt_row,
    describe,
    fingerprint,
    presentable,
    redact,
    sanitise,
)
from reliable_effects.outbox.models import Attempt
from reliable_effects.outbox.states import State
from tests.outbox.conftest import carry_out, pending_delivery, raising

LIMIT = 8 * 1024


def recorded(exception: BaseException, **options: Any) -> Attempt:
    """The attempt as the database gives it back."""
    row = attempt_row(
        1, 1, Attempt.Outcome.FAILED, effect="test.it", exception=exception, **options
    )
    row.save()
    return Attempt.objects.get(pk=row.pk)


# It must not fail


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class NotText(Exception):
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]  # noqa: PLE0307  # foreign code does that


class Nowhere(Exception):
    __module__ = None  # type: ignore[assignment]


HOSTILE = {
    "nothing": ValueError(),
    "nul": ValueError("a\0b"),
    "surrogate": ValueError("\ud800\udfff"),
    "bytes": ValueError(b"\xff\0"),
    "terminal": ValueError("\x1b[2J\x1b]0;title\x07\x9b31m\r\x7f"),
    "huge": ValueError("ä" * 10_000_000),
    "unspeakable": Unspeakable(),
    "not text": NotText(),
    "no module": Nowhere("x"),
    "name": type("Ä" * 300, (Exception,), {})("x"),
    "many": ExceptionGroup("many", [ValueError(n) for n in range(1000)]),
    "notes": ValueError("noted"),
}
HOSTILE["notes"].__notes__ = [7, "\0"]  # type: ignore[attr-defined]


@pytest.mark.fault("an effect raises what cannot be pickled, printed or stored", rows="W7")
@pytest.mark.django_db
@pytest.mark.parametrize("sort", HOSTILE)
def test_a_hostile_exception_is_recorded(sort):
    """Else its delivery would fail again and again for the wrong reason, and leave no trace."""
    found = recorded(HOSTILE[sort])

    assert len(found.message.encode()) <= LIMIT
    assert len(found.traceback.encode()) <= LIMIT
    assert len(found.exception_type) <= 200
    assert len(found.fingerprint) == 32
    assert not set("\0\x1b\x07\r\x7f\x9b") & set(found.message + found.traceback)


@pytest.mark.django_db
@given(st.text(st.characters(codec=None), max_size=200))
@property_settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_any_text_can_be_recorded(text):
    """As the database takes it, not as we think that it does."""
    row = attempt_row(1, 1, Attempt.Outcome.FAILED, effect="test.it", message=text)
    row.save()

    assert Attempt.objects.get(pk=row.pk).message == row.message


@pytest.mark.django_db
def test_a_message_of_100_megabytes_keeps_its_head():
    """Some clients raise the whole response."""
    found = recorded(ValueError("The answer was: " + "x" * 100_000_000))

    assert found.message.startswith("The answer was: xxx")
    assert "… cut …" in found.message
    assert len(found.message.encode()) <= LIMIT


def test_a_long_message_keeps_its_head_and_its_tail():
    """The first line says what, the last one often why."""
    kept = presentable("what\n" + "x" * 50_000 + "\nwhy")

    assert kept.startswith("what\n")
    assert kept.endswith("\nwhy")


def test_an_exception_that_cannot_speak_is_described():
    assert describe(Unspeakable()) == "<str() of this Unspeakable raised RuntimeError>"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("sort", ["nul", "surrogate", "unspeakable", "name"])
def test_a_hostile_failure_is_retried_like_any_other(make_effect, sort):
    """From the effect to the row, on a real delivery."""
    delivery = pending_delivery(make_effect(raising(HOSTILE[sort]), max_attempts=1))

    carry_out(delivery)

    assert delivery.state == State.POISONED
    assert Attempt.objects.get().outcome == Attempt.Outcome.FAILED


# It must not show a secret

SECRETS = [
    "password=hunter2",
    "PASSWORD: hunter2",
    "{'password': 'hunter2'}",
    '{"password": "hunter2"}',
    r'body="{\"password\": \"hunter2\"}"',
    "{'db_passwd': 'correct hunter2 staple'}",
    '{"token": "correct \\"hunter2\\" staple"}',
    "Authorization: Bearer hunter2.hunter2",
    "Authorization: Token hunter2",
    "{'Authorization': 'Basic aHVudGVyMg==hunter2'}",
    "curl -H 'authorization: bearer hunter2hunter2'",
    "sent Bearer hunter2hunter2 and got 401",
    "Cookie: sessionid=hunter2; csrftoken=hunter2",
    "postgres://shop:hunter2@db/shop",
    "redis://:hunter2@cache:6379/0",
    "https://api.example.com/?api_key=hunter2&user=7",
    "https://api.example.com/?user=7&access_token=hunter2",
    "AWS_SECRET_ACCESS_KEY=hunter2",
    "x-api-key: hunter2",
    "client_secret => 'x', private_key = hunter2",
    "Connect(passphrase='hunter2')",
    "x" * 100 + "_password=hunter2",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_hidden(text):
    """P10: attempts are read by people who must not have the partner's password."""
    hidden = redact(text)

    assert "hunter2" not in hidden
    assert "***" in hidden


@pytest.mark.parametrize("where", ["head", "seam", "tail"])
@pytest.mark.parametrize("length", [10, 5_000, 100_000, 1_000_000])
def test_no_cut_parts_a_secret_from_its_name(where, length):
    """What is left of a long token would look like any other text."""
    secret = "token=" + "hunter2" * (length // 7)
    around = {"head": (0, 20_000), "seam": (4_090, 20_000), "tail": (20_000, 0)}[where]
    text = " ".join(["."] * (around[0] // 2)) + " " + secret + " ." * (around[1] // 2)

    assert "hunter2" not in presentable(text)


@pytest.mark.parametrize(
    "text",
    [
        "could not connect to db:5432",
        "Order 7 has no items: []",
        "https://shop.example.com/orders/7?page=2",
        "mail to anna@example.com: mailbox full",
        "a tokenless line\nand a second",
    ],
)
def test_what_is_no_secret_stays(text):
    """A person has to find the cause in it."""
    assert redact(text) == text


@pytest.mark.django_db
def test_a_traceback_has_no_locals_and_no_secrets():
    """Locals hold what was never meant to be stored; source lines may hold a secret too."""

    def fails():
        card = "4111 1111 1111 1111"
        raise ValueError(len(card), "password=hunter2")

    with pytest.raises(ValueError, match="password") as raised:
        fails()
    found = recorded(raised.value)

    assert "in fails" in found.traceback
    assert "hunter2" not in found.traceback + found.message
    assert found.message == "(19, 'password=***')"


def shout(text: str) -> str:
    return text.upper()


def refuse(text: str) -> str:
    raise LookupError(text)


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("tests.outbox.test_failures.shout", "A SECRET"),
        ("tests.outbox.test_failures.refuse", "<tests.outbox.test_failures.refuse failed"),
        ("tests.nowhere.at_all", "<tests.nowhere.at_all failed"),
    ],
)
def test_a_projects_own_redact_is_used_and_may_fail(settings, path, kept):
    """Where it fails nothing is kept: it was there because something must not be."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "REDACT": path}

    assert presentable("a secret").startswith(kept)


# It must not take long


@pytest.mark.parametrize(
    "piece",
    ["password", "password=", "token:", "://", "://a:", "://:a", '"', '\\"', "token='", "bearer ",
     "authorization: bearer ", "a", "-", " ", 'session_id\\"', 'token="\\'],
)  # fmt: skip
def test_hiding_takes_time_in_proportion(piece):
    """A message may be made to keep a regular expression busy for ever."""
    text = piece * (1_000_000 // len(piece))
    began = time.monotonic()

    redact(text)

    assert time.monotonic() - began < 20  # linear it is below one second, quadratic it is hours


# Equal failures have equal fingerprints


def failure(kind: type[Exception], *, text: str = "", deeper: bool = False) -> Exception:
    def inner() -> None:
        raise kind(text)

    def outer() -> None:
        raise kind(text)

    try:
        inner() if deeper else outer()
    except kind as error:
        return error
    raise AssertionError


def test_equal_failures_have_equal_fingerprints():
    """The admin groups by it: the message may differ, the place and the type may not."""
    some = fingerprint("shop.charge", failure(ValueError, text="order 7"))

    assert some == fingerprint("shop.charge", failure(ValueError, text="order 8"))
    assert some != fingerprint("shop.charge", failure(KeyError))
    assert some != fingerprint("shop.charge", failure(ValueError, deeper=True))
    assert some != fingerprint("shop.receipt", failure(ValueError))


def test_a_failure_that_was_never_raised_has_a_fingerprint_too():
    """`Failed(TimeoutError())`, made by a pool."""
    assert len(fingerprint("shop.charge", ValueError())) == 32


@given(st.text(st.characters(codec=None)), st.integers(16, 100))
@property_settings(deadline=None)
def test_what_is_sanitised_fits_and_can_be_encoded(text, limit):
    kept = sanitise(text, limit)

    assert len(kept.encode()) <= limit
    assert "\0" not in kept
