"""Which keys are taken, and which values of the header are none."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from reliable_effects.idempotency.header import read
from tests.idempotency.conftest import code, is_replay, poster


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("order:42", "order:42"),
        ("12345", "12345"),
        (r'"a\"b\\c"', r'a"b\c'),
        ('"a b"', "a b"),
        ('  "a"\t', "a"),
        ('"a";p=1;q="x"', "a"),
        ("k" * 255, "k" * 255),
        (f'"{"k" * 255}"', "k" * 255),
    ],
)
def test_both_ways_to_write_a_key_name_it(value, key):
    """The draft's, in quotes, and that of most clients."""
    assert read(value, strict=False) == key


@pytest.mark.parametrize(
    "value",
    [
        "", "   ", '""', '"  "', "a b", '"a", "b"', "a,b", '"a"b', '"unterminated', "a;p", "a\\b",
        "é", '"é"', "a\tb", '"a\nERROR fake"', "a\x00b", "😀", "k" * 256, f'"{"k" * 256}"',
        "k" * 1_000_000, '"' + "\\" * 1_000_000, r'"a\b"', '"a";P',
    ],
)  # fmt: skip
def test_what_is_no_key_is_never_taken_for_no_header(value):
    """The client believes that it is protected."""
    assert read(value, strict=False) is None


@pytest.mark.parametrize("value", ["k", "8e03978e-40d5", ":YWJj:", "12345", "?1"])
def test_a_strict_view_takes_quoted_keys_only(value):
    """As the draft says it."""
    assert read(value, strict=True) is None
    assert read(f'"{value}"', strict=True) == value


@pytest.mark.django_db
def test_a_bad_key_costs_no_query_and_runs_nothing(user, plan):
    """Nobody can make the database work with nonsense."""
    post = poster(None)
    with CaptureQueriesContext(connection) as queries:
        answer = post(key='"a", "b"')

    assert (answer.status_code, code(answer)) == (400, "invalid-key")
    assert (len(queries), plan.runs) == (0, 0)
    assert user.pk


@pytest.mark.django_db
def test_a_key_is_the_same_with_and_without_quotes(post, plan):
    """Two libraries of one client."""
    post(key='"k3"')

    assert is_replay(post(key="k3"))
    assert plan.runs == 1


@pytest.mark.django_db
def test_a_strict_view_says_what_it_wants(post, plan):
    """Nothing runs for a key that it does not take."""
    refused = post("/strict/", key="k")

    assert (refused.status_code, code(refused), plan.runs) == (400, "invalid-key", 0)
    assert post("/strict/", key='"k"').status_code == 201
