"""What looks secret in a payload is shown to nobody in the admin."""

from __future__ import annotations

import json

import pytest
from django.test import override_settings

from reliable_effects.outbox import redaction
from reliable_effects.outbox.admin import looks

SECRET = (
    "password", "Password", "userPassword", "db_passwd", "client_secret", "token", "accessToken",
    "refresh_tokens", "Authorization", "api_key", "apiKey", "API-KEY", "x-api-key", "privateKey",
    "card", "card_number", "cardPAN", "cvv", "CVC2", "iban", "IBAN", "customer_iban", "ssn", "pin",
    "session_id", "Set-Cookie", "credentials", "jwt",
)  # fmt: skip
HARMLESS = (
    "name", "coupon", "discard", "pinned", "japan", "cardinality", "author", "keyboard", "passenger",
    "order_id", "spin", "company", "basic", "expand", "key", "",
)  # fmt: skip


def shown(payload, name="shop.order_placed"):
    text, is_all = redaction.shown(name, payload)
    return json.loads(text), is_all


def hook(name, payload):
    return {"of": name, "keys": sorted(payload)}


def emptying(_name, payload):
    payload.pop("card")
    return payload


def broken(_name, _payload):
    raise RuntimeError("4111111111111111")


def endless(_name, payload):
    payload["self"] = payload
    return payload


@pytest.mark.parametrize("key", SECRET)
def test_what_has_a_secret_key_is_hidden(key):
    """However it is spelled."""
    assert shown({key: "s3cr3t"}) == ({key: "***"}, False)


@pytest.mark.parametrize("key", HARMLESS)
def test_what_only_sounds_like_one_is_shown(key):
    """A page that hides everything is of no use."""
    assert shown({key: "plain"}) == ({key: "plain"}, True)


def test_it_is_hidden_however_deep_and_whatever_it_is():
    """Lists of records hold them as well as records do."""
    payload = {"lines": [{"card": {"number": "4111", "name": "Ada"}}, {"iban": ["DE1"], "n": 5}]}

    seen, is_all = shown(payload)

    assert seen == {"lines": [{"card": "***"}, {"iban": "***", "n": 5}]}
    assert not is_all


def test_that_there_is_none_is_shown():
    """Often it is what went wrong."""
    payload = {"token": None, "password": "", "has_card": True}

    assert shown(payload) == (payload, True)


def test_texts_go_through_the_projects_redact():
    """A secret may stand in the middle of a note."""
    seen, is_all = shown({"note": "use postgres://ada:hunter2@db", "n": ["token=abcdef"]})

    assert "hunter2" not in seen["note"]
    assert seen["n"] == ["token=***"]
    assert not is_all


@override_settings(RELIABLE_EFFECTS={"REDACT_PAYLOAD": f"{__name__}.hook"})
def test_a_project_may_say_what_is_shown():
    """By the event: it knows what is in it."""
    assert shown({"b": 1, "a": 2}, "shop.x") == ({"of": "shop.x", "keys": ["a", "b"]}, False)


@override_settings(RELIABLE_EFFECTS={"REDACT_PAYLOAD": f"{__name__}.emptying"})
def test_a_function_that_changes_what_it_is_given_changes_nothing_else():
    """The row is in the caller's hands, and may be compared with what is shown."""
    payload = {"card": "4111", "n": 1}

    assert shown(payload) == ({"n": 1}, False)
    assert payload == {"card": "4111", "n": 1}


@pytest.mark.parametrize("name", ["broken", "endless"])
def test_where_that_fails_nothing_is_shown_but_that(name, caplog):
    """Neither the payload, nor what was raised about it."""
    path = f"{__name__}.{name}"
    with override_settings(RELIABLE_EFFECTS={"REDACT_PAYLOAD": path}):
        text, is_all = redaction.shown("shop.x", {"card": "4111111111111111"})

    assert (path in text, is_all) == (True, False)
    assert "4111" not in text
    assert "shop.x" in caplog.text


def test_what_is_nested_too_deeply_breaks_no_page():
    """Somebody may have written it into the table by hand."""
    deep: dict[str, object] = {}
    for _ in range(5000):
        deep = {"in": deep}

    assert "failed" in redaction.shown("shop.x", deep)[0]


def test_a_payload_is_text_on_its_page_and_says_that_something_is_hidden():
    """Never markup."""
    html = looks.payload("shop.x", {"name": "<b>Ada</b>", "pin": "1234"})

    assert "&lt;b&gt;Ada&lt;/b&gt;" in html
    assert "1234" not in html
    assert "What looks secret is hidden." in html
