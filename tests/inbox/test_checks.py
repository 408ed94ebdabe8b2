"""What would run a message twice, or never, is found before it does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from reliable_effects import inbox
from reliable_effects.checks.inbox import check_consumers
from reliable_effects.clock import DbNow
from reliable_effects.inbox import consume_once
from reliable_effects.inbox.models import InboxMessage
from reliable_effects.watch import rules, status

DAY = timedelta(days=1)


def ids() -> list[str]:
    return [message.id.partition(".")[2] for message in check_consumers()]


def test_an_ordinary_consumer_is_in_order():
    @consume_once("billing", redelivered_for=3 * DAY)
    def capture(message_id): ...

    assert ids() == []


def test_one_function_that_is_imported_twice_is_one():
    def make():
        @consume_once("billing")
        def capture(message_id): ...

    make()
    make()

    assert ids() == []


@pytest.mark.django_db
def test_a_conflict_is_alerted_on_for_a_day():
    """Nobody can mend it here, so nobody can say that it is over."""
    for payload in (b"one", b"another"):
        with transaction.atomic():
            inbox.claim("evt_1", consumer="billing", payload=payload)

    (found,) = rules.ask("conflicted", status.of("default"))

    assert found.subject == "billing"
    assert found.text.startswith("1 messages of billing on default came again")
    InboxMessage.objects.update(conflicted_at=DbNow() - 2 * DAY)
    assert rules.ask("conflicted", status.of("default")) == []
