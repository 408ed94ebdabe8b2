"""What has become of a delivery, in the order in which it happened."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from reliable_effects.console.timeline import timeline
from reliable_effects.console.timeline.timeline import AT_MOST, Detail, Entry
from reliable_effects.outbox import edits
from reliable_effects.outbox.models import Attempt, OutboxEvent
from reliable_effects.outbox.payloads import PayloadEdit
from reliable_effects.outgoing.models import OutgoingCall
from tests.outbox.conftest import pending_delivery, poisoned_delivery, succeeded_delivery

pytestmark = pytest.mark.django_db


def before(minutes: float):
    return timezone.now() - timedelta(minutes=minutes)


def nobody(_permission: str) -> bool:
    return False


def attempt(row, number, at, **columns):
    made = Attempt.objects.create(
        **{"delivery": row, "number": number, "outcome": "failed", "message": "declined"} | columns
    )
    Attempt.objects.filter(pk=made.pk).update(ended_at=at)


def logged(row, message, at):
    ada, _ = User.objects.get_or_create(username="ada")
    LogEntry.objects.log_actions(ada.pk, [row], CHANGE, change_message=message)
    LogEntry.objects.filter(change_message=message).update(action_time=at)


def called(row, at):
    return OutgoingCall.objects.create(
        key=uuid4(), delivery=row, target="POST api.bank", first_sent_at=at, last_sent_at=at,
        times_sent=2, send_token=1, status=502,
    )  # fmt: skip


def eventful():
    row = poisoned_delivery(event={"emitted_at": before(60)}, finished_at=before(10))
    attempt(row, 1, before(50), host="web-1:9", release="v7", exception_type="shop.Declined")
    logged(row, "Redriven (one of 3): the bank is back", before(40))
    called(row, before(30))
    attempt(row, 1, before(20), outcome="timed out")
    return row


def test_it_is_told_from_emit_to_the_end_in_order():
    """Every attempt, call and remedy, and who did it."""
    told = timeline.of(eventful())

    assert [entry.kind for entry in told.entries] == [
        "emitted", "attempt", "person", "call", "attempt", "ended",
    ]  # fmt: skip
    assert [entry.by for entry in told.entries if entry.by] == ["ada"]
    assert "the bank is back" in told.entries[2].text
    assert "Set aside: every attempt failed" in told.entries[-1].text
    assert not told.is_cut


def test_an_attempt_says_where_it_ran_and_what_it_met():
    """Host and release say which deploy broke it."""
    details = {d.name: d.text for d in timeline.of(eventful()).entries[1].details}

    assert details == {
        "worker": "web-1:9", "release": "v7", "error": "shop.Declined", "message": "declined",
    }  # fmt: skip


def test_a_success_says_which_attempt_it_was_and_where():
    """What ends well leaves no attempt behind."""
    entry = timeline.of(succeeded_delivery(attempts=3, worker="web-2:1")).entries[-1]

    assert entry.text == "Succeeded, attempt 3"
    assert [d.text for d in entry.details] == ["web-2:1"]


def test_an_edit_is_told_once_with_who_and_why_and_without_secrets():
    """Its audit entry says the same."""
    row = pending_delivery("shop.wrap")
    edits.edit(row, '{"card": "4111", "n": 1}', by="bob", why="a typing error")
    logged(row, f"{timeline.EDITED} 1), redriven: a typing error", timezone.now())

    entries = timeline.of(row).entries

    assert [(e.kind, e.by) for e in entries] == [("emitted", ""), ("edited", "bob")]
    text = str(entries[1].details)
    assert "a typing error" in text
    assert "4111" not in text


def test_what_a_permission_is_needed_for_is_told_to_nobody_else():
    """Error texts, payloads and calls."""
    row = eventful()
    PayloadEdit.objects.create(
        delivery=row, event_id=row.event_id, payload={"iban": "DE1", "name": "Ada"}, version=1,
        generation=0, by="bob", why="x",
    )  # fmt: skip

    told = timeline.of(row, nobody)

    assert "call" not in [entry.kind for entry in told.entries]
    text = str(told)
    for secret in ("declined", "Declined", "Ada", str(row.event.correlation), row.event.name):
        assert secret not in text
    assert "web-1:9" in text


def test_a_delivery_whose_event_is_gone_has_a_timeline():
    """It is when somebody looks."""
    row = poisoned_delivery()
    OutboxEvent.objects.all().delete()
    row.refresh_from_db()

    assert [entry.kind for entry in timeline.of(row).entries] == ["ended"]


def test_a_long_one_is_cut_and_says_so():
    """The beginning, and the newest."""
    row = pending_delivery(event={"emitted_at": before(9999)})
    for number in range(AT_MOST + 20):
        attempt(row, number, before(500 - number))

    told = timeline.of(row)

    assert told.is_cut
    assert len(told.entries) == AT_MOST
    assert told.entries[0].kind == "emitted"
    assert f"Attempt {AT_MOST + 19}" in told.entries[-1].text
    assert "Attempt 21:" in told.entries[1].text


def test_the_number_of_queries_is_fixed():
    """However much has happened."""

    def asked(row) -> int:
        row.refresh_from_db()
        with CaptureQueriesContext(connection) as queries:
            timeline.of(row)
        return len(queries)

    one, many = pending_delivery(), pending_delivery()
    attempt(one, 1, before(1))
    for number in range(AT_MOST):
        attempt(many, number, before(number))
        logged(many, f"Redriven {number}", before(number))
        called(many, before(number))

    asked(one)  # the content type is read once in a process
    assert asked(one) == asked(many) <= 7


def test_of_a_log_without_end_the_newest_is_looked_through_and_that_is_said(monkeypatch):
    """No index finds what an entry is about, and a bulk remedy writes ten thousand."""
    row = pending_delivery()
    logged(row, "Redriven long ago", before(9))
    for number in range(3):
        logged(poisoned_delivery(), f"Cancelled {number}", before(1))
    assert not timeline.of(row).may_lack_remedies

    monkeypatch.setattr(timeline, "LOOKED_THROUGH", 2)

    told = timeline.of(row)
    assert told.may_lack_remedies
    assert "person" not in [entry.kind for entry in told.entries]


def test_other_parts_may_tell_what_they_know(monkeypatch):
    """Redrive operations, for one."""
    monkeypatch.setattr(timeline, "_others", [])

    def source(row, limit):
        yield Entry(
            before(1), "operation", f"{row.effect} in operation 7 ({limit})", "eve",
            [Detail("secret", "x", "shop.see")], needs="",
        )  # fmt: skip

    for _ in range(2):
        timeline.also_tell(source)
    told = timeline.of(pending_delivery(event={"emitted_at": before(2)}), nobody)

    assert [entry.kind for entry in told.entries] == ["emitted", "operation"]
    assert told.entries[1].details == []
