"""A message is handled once, and what handled it is committed with the row that says so."""

from __future__ import annotations

import logging
from contextlib import suppress
from uuid import UUID

import pytest
from django.db import transaction

from reliable_effects import inbox
from reliable_effects.exceptions import BadMessage, OutsideTransaction
from reliable_effects.inbox import Claim
from reliable_effects.inbox.hashing import hash_payload, is_another, message_key
from reliable_effects.inbox.models import InboxMessage
from reliable_effects.signals import message_conflicted
from tests.shop.models import LedgerEntry

from .conftest import PAYLOAD, message

pytestmark = pytest.mark.django_db


def claim(message_id="evt_1", payload=PAYLOAD, consumer="billing") -> Claim:
    with transaction.atomic():
        return inbox.claim(message_id, consumer=consumer, payload=payload)


class Boom(Exception):
    pass


def test_a_message_is_new_once():
    first, second = claim(), claim()

    assert (first, second) == (Claim.NEW, Claim.DUPLICATE)
    assert first
    assert not second


def test_each_consumer_has_messages_of_its_own():
    """One message may concern the books and the parcels."""
    assert claim(consumer="billing")
    assert claim(consumer="parcels")


def test_work_that_fails_takes_its_row_along():
    """Else the sender's next try would be taken for a duplicate, and the message would be lost."""
    with suppress(Boom), transaction.atomic():
        inbox.claim("evt_1", consumer="billing")
        LedgerEntry.objects.create(order_pk=1, what="paid", key="")
        raise Boom

    assert not LedgerEntry.objects.exists()
    assert claim()


def test_a_savepoint_that_is_rolled_back_takes_its_row_along():
    with transaction.atomic():
        with suppress(Boom), transaction.atomic():
            assert inbox.claim("evt_1", consumer="billing")
            raise Boom

        assert inbox.claim("evt_1", consumer="billing")


def test_the_same_transaction_gets_a_message_once():
    with transaction.atomic():
        assert inbox.claim("evt_1", consumer="billing")
        assert inbox.claim("evt_1", consumer="billing") is Claim.DUPLICATE


def test_a_duplicate_does_not_spoil_the_transaction():
    """An IntegrityError would, on PostgreSQL."""
    claim()

    with transaction.atomic():
        inbox.claim("evt_1", consumer="billing")
        LedgerEntry.objects.create(order_pk=1, what="seen", key="")

    assert LedgerEntry.objects.count() == 1


def test_outside_a_transaction_a_claim_is_refused():
    """The test's own transaction does not count: in production there would be none."""
    with pytest.raises(OutsideTransaction, match=r"inbox.claim\('billing'\)"):
        inbox.claim("evt_1", consumer="billing")


# Ids


@pytest.mark.parametrize(
    "message_id",
    ["x" * 5000, "ä \x00 \ud800 🧨", " ", "a\nb", 0, UUID(int=7)],
    ids=["long", "hostile", "blank", "two lines", "zero", "uuid"],
)
def test_any_id_is_kept_apart_from_others(message_id):
    """A sender's ids are its own affair; a column would refuse some, and cut others."""
    assert claim(message_id)
    assert claim(message_id) is Claim.DUPLICATE
    assert claim(f"{message_id}!")


@pytest.mark.parametrize(("one", "other"), [("a1", "A1"), ("a", "a "), ("é", "e"), ("ß", "ss")])
def test_ids_are_compared_to_the_letter(one, other):
    """A collation that ignores case or accents would lose the second message."""
    assert claim(one)
    assert claim(other)


def test_long_ids_that_differ_in_the_middle_are_two():
    assert claim("x" * 500 + "a" + "x" * 500)
    assert claim("x" * 500 + "b" + "x" * 500)


def test_a_number_is_its_digits():
    """JSON of the next release may have it as a string."""
    assert claim(7)
    assert not claim("7")


@pytest.mark.parametrize("message_id", ["", None, True, b"evt_1", 1.5])
def test_what_is_no_id_is_refused(message_id):
    with pytest.raises(BadMessage, match="id of a message"):
        claim(message_id)


@pytest.mark.parametrize("consumer", ["", "two words", "x" * 201, None])
def test_what_is_no_name_is_refused(consumer):
    with pytest.raises(ValueError, match="no consumer name"):
        claim(consumer=consumer)


def test_consumer_and_id_cannot_be_read_as_another_pair():
    assert message_key("a", "b1:c") != message_key("a1:b", "c")


# Payloads


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (PAYLOAD, PAYLOAD | {"amount": "99.50"}),
        (b'{"a": 1}', b'{"a":1}'),
        ("text", "Text"),
        ([1, 2], [2, 1]),
        ({"a": None}, {}),
        ({"a": 1}, {"a": "1"}),
    ],
)
def test_the_same_id_with_another_payload_is_an_alarm(
    first, other, caplog, django_capture_on_commit_callbacks
):
    """Either the sender gave one id to two messages, or somebody is trying something."""
    told = []

    def hear(sender, **facts):
        told.append((sender, facts["consumer"], facts["message_id"], facts["using"]))

    message_conflicted.connect(hear)
    claim(payload=first)

    with caplog.at_level(logging.ERROR), django_capture_on_commit_callbacks(execute=True):
        found = claim(payload=other)
    message_conflicted.disconnect(hear)

    assert found is Claim.CONFLICTED
    assert not found
    assert message().conflicts == 1
    assert message().conflicted_at
    assert "conflicted billing 'evt_1'" in caplog.text
    assert told == [(InboxMessage, "billing", "evt_1", "default")]


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
        (b"raw", b"raw"),
        ("ä", "ä".encode()),
        ((1, 2), [1, 2]),
        (None, PAYLOAD),
        (PAYLOAD, None),
    ],
    ids=["order of keys", "bytes", "text and bytes", "tuple", "none then", "none now"],
)
def test_what_says_the_same_is_a_duplicate(first, again):
    claim(payload=first)

    assert claim(payload=again) is Claim.DUPLICATE
    assert message().conflicts == 0


def test_each_conflict_is_counted():
    claim()
    claim(payload=b"one")
    claim(payload=b"two")

    assert message().conflicts == 2


@pytest.mark.parametrize("payload", [{1, 2}, object(), {"a": object()}])
def test_what_is_no_json_is_refused(payload):
    with pytest.raises(BadMessage, match="payload of a message"):
        claim(payload=payload)


def test_a_payload_that_never_ends_is_refused():
    """A hostile one must not end the process."""
    payload: list = []
    for _ in range(100_000):
        payload = [payload]

    with pytest.raises(BadMessage):
        hash_payload(payload)


def test_no_payload_is_kept():
    """Of a hash without a key one could try out which payload it was."""
    claim(payload={"email": "ada@example.com"})

    kept = str(InboxMessage.objects.values().get())
    assert "ada" not in kept


def test_a_secret_that_became_a_fallback_still_tells(settings):
    claim()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [settings.SECRET_KEY]

    assert claim() is Claim.DUPLICATE
    assert claim(payload=b"other") is Claim.CONFLICTED


def test_a_secret_that_is_gone_is_no_alarm(settings):
    """Each message of a month would be one."""
    stored = hash_payload(b"one")
    settings.SECRET_KEY = "new"

    assert not is_another(b"one", stored)
    assert not is_another(b"other", stored)


def test_a_claim_costs_few_queries(django_assert_max_num_queries):
    """It stands in every request of a partner."""
    with transaction.atomic(), django_assert_max_num_queries(2):
        inbox.claim("evt_1", consumer="billing", payload=PAYLOAD)
    with transaction.atomic(), django_assert_max_num_queries(2):
        inbox.claim("evt_1", consumer="billing", payload=PAYLOAD)
