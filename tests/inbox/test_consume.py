"""`consume_once` around a function: run once, told of duplicates, and undone as a whole."""

from __future__ import annotations

import json

import pytest
from django.db import connection, transaction

from reliable_effects.exceptions import BadMessage, MessageConflicted
from reliable_effects.inbox import Claim, consume_once
from reliable_effects.inbox.models import InboxMessage
from tests.shop.models import LedgerEntry

from .conftest import PAYLOAD, message

pytestmark = pytest.mark.django_db


class Boom(Exception):
    pass


@pytest.fixture
def capture():
    @consume_once("billing")
    def capture(message_id, payload):
        LedgerEntry.objects.create(order_pk=payload["order"], what="paid", key=message_id)
        return "captured"

    return capture


def test_it_runs_once_and_says_so(capture):
    assert capture("evt_1", PAYLOAD) == "captured"
    assert capture("evt_1", payload=PAYLOAD) is Claim.DUPLICATE
    assert LedgerEntry.objects.count() == 1


def test_another_payload_is_refused_and_the_mark_stays(capture):
    """The error is raised behind the transaction, or it would take the mark along."""
    capture("evt_1", PAYLOAD)

    with pytest.raises(MessageConflicted, match="evt_1"):
        capture("evt_1", PAYLOAD | {"amount": "99"})

    assert message().conflicts == 1
    assert LedgerEntry.objects.count() == 1


def test_what_fails_runs_again():
    runs = []

    @consume_once("billing")
    def capture(message_id):
        LedgerEntry.objects.create(order_pk=1, what="paid", key=message_id)
        runs.append(message_id)
        if len(runs) == 1:
            raise Boom

    with pytest.raises(Boom):
        capture("evt_1")
    capture("evt_1")

    assert runs == ["evt_1", "evt_1"]
    assert LedgerEntry.objects.count() == 1


def test_inside_a_transaction_of_the_caller_only_its_own_work_is_undone():
    """As with ATOMIC_REQUESTS."""

    @consume_once("billing")
    def capture(message_id):
        raise Boom

    with transaction.atomic():
        LedgerEntry.objects.create(order_pk=1, what="seen", key="")
        with pytest.raises(Boom):
            capture("evt_1")

    assert LedgerEntry.objects.count() == 1
    assert not InboxMessage.objects.exists()


def test_the_function_runs_in_a_transaction():
    @consume_once("billing")
    def capture(message_id):
        return any(not block._from_testcase for block in connection.atomic_blocks)

    assert capture("evt_1")


def test_where_the_message_is_can_be_said():
    """A view has a request, and a consumer of a broker a message of its own kind."""

    @consume_once("parcels", id=lambda event: event["id"], payload=lambda event: event["data"])
    def on_parcel(event):
        return event["data"]

    assert on_parcel({"id": "p1", "data": 5, "sent": 1}) == 5
    assert on_parcel({"id": "p1", "data": 5, "sent": 2}) is Claim.DUPLICATE
    with pytest.raises(MessageConflicted):
        on_parcel({"id": "p1", "data": 6, "sent": 3})


def test_a_method_and_a_bound_task_are_functions_too():
    """What comes before `message_id` is no part of it."""

    class Handler:
        @consume_once("billing")
        def handle(self, message_id, payload=None, *, dry=False):
            return self

    handler = Handler()

    assert handler.handle("evt_1", PAYLOAD, dry=True) is handler
    assert handler.handle("evt_1", PAYLOAD) is Claim.DUPLICATE


def test_its_name_and_arguments_stay(capture):
    """Celery and Django read them."""
    assert capture.__name__ == "capture"
    with pytest.raises(TypeError, match="payload"):
        capture("evt_1")
    assert not InboxMessage.objects.exists()


def test_a_duplicate_is_json():
    """A task's result goes through a broker."""
    assert json.dumps(Claim.DUPLICATE) == '"duplicate"'


def test_what_says_no_id_is_refused_at_once():
    with pytest.raises(TypeError, match=r"message_id.*\s.*id=lambda"):

        @consume_once("billing")
        def capture(event): ...


def test_async_is_refused_with_the_way_out():
    with pytest.raises(TypeError, match="sync_to_async"):

        @consume_once("billing")
        async def capture(message_id): ...


def test_what_yields_is_refused():
    """It would run when the transaction is over."""
    with pytest.raises(TypeError, match="yields"):

        @consume_once("billing")
        def capture(message_id):
            yield


def test_what_is_async_inside_is_refused_before_it_counts_as_handled():
    """A decorator hides it, or an object's own `__call__`."""

    async def capture(message_id): ...

    def count(message_id):
        yield message_id

    class Handler:
        async def __call__(self, message_id): ...

    for work in (capture, count):
        with pytest.raises(TypeError, match="nothing was handled"):
            consume_once("billing")(lambda message_id, work=work: work(message_id))("m-1")
    with pytest.raises(TypeError, match="async"):
        consume_once("billing")(Handler())
    assert not InboxMessage.objects.exists()


def test_a_name_that_no_row_can_have_is_refused_at_once():
    with pytest.raises(ValueError, match="consumer name"):
        consume_once("two words")


def test_an_empty_id_is_refused(capture):
    with pytest.raises(BadMessage):
        capture("", PAYLOAD)


@pytest.mark.django_db(databases=["default", "other"])
def test_another_database_can_be_named():
    @consume_once("billing", using="other")
    def capture(message_id): ...

    capture("evt_1")

    assert InboxMessage.objects.using("other").count() == 1
    assert not InboxMessage.objects.exists()
