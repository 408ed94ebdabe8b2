"""A payload is edited on a form: shown, checked, explained, confirmed with a reason, and done."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.test import override_settings

from reliable_effects.console.timeline import diffs
from reliable_effects.outbox import edits, remedy
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.payloads import PayloadEdit
from reliable_effects.outbox.states import ANEW, Notes, State
from tests.admin.conftest import page_of
from tests.outbox.conftest import IN_STATE, carry_out, pending_delivery, poisoned_delivery
from tests.shop.models import LedgerEntry

pytestmark = pytest.mark.django_db

EDIT = ("view_delivery", "view_outboxevent", "edit_payload_delivery")
ANEW_TOO = (*EDIT, "start_anew_delivery")
ALL = (*ANEW_TOO, "settle_delivery")
RECEIPT = "shop.send_receipt"
PLACED = {"name": "shop.order_placed", "source": "emit"}
OLD, NEW = {"coupon": "OLD"}, json.dumps({"coupon": "NEW"})


def fresh(**columns):
    return pending_delivery(RECEIPT, event=PLACED, payload=OLD, **columns)


def failed(**columns):
    return poisoned_delivery(RECEIPT, event=PLACED, payload=OLD, **columns)


def form_of(row) -> str:
    return page_of(row).replace("/change/", "/edit-payload/")


def check(client, row, payload=NEW):
    return client.post(form_of(row), {"payload": payload, "step": "check"})


def confirm(client, row, question, why="a typing error", **more):
    """Send the page's form with what the page has put in it."""
    hidden = re.findall(
        r'<input type="hidden" name="(\w+)" value="([^"]*)"', question.content.decode()
    )
    fields = {n: unescape(v) for n, v in hidden if n != "csrfmiddlewaretoken"}
    assert {"payload", "shown"} <= fields.keys()
    fields |= {"why": why, "step": "confirm"} | more
    return client.post(form_of(row), fields, follow=True)


def as_stored(row):
    return Delivery.objects.filter(pk=row.pk).values().get()


def text_of(response) -> str:
    assert response.status_code == 200
    return unescape(response.content.decode())


def messages_of(response) -> str:
    return " ".join(str(message) for message in response.context["messages"])


# The way through


def test_it_is_shown_checked_explained_confirmed_and_done(log_in):
    """Each step says what the next will do, and only the last does it."""
    client, row = log_in(*EDIT), fresh()

    form = text_of(client.get(form_of(row)))
    question = check(client, row)
    assert as_stored(row)["notes"] is None
    answer = confirm(client, row, question)
    carry_out(row)

    assert '"coupon": "OLD"' in form
    asked = text_of(question)
    assert '<del>-   "coupon": "OLD"</del>' in asked
    assert '<ins>+   "coupon": "NEW"</ins>' in asked
    assert "It keeps its key" in asked
    assert "edited" in messages_of(answer)
    assert LedgerEntry.objects.get().what == "receipt NEW"
    assert OutboxEvent.objects.get().payload == OLD


def test_who_and_why_is_written_down(log_in):
    """Beside the edit, and in the history of the delivery."""
    client, row = log_in(*EDIT), fresh()

    confirm(client, row, check(client, row), why="ticket <b>7</b>")

    entry, edit = LogEntry.objects.get(), PayloadEdit.objects.get()
    assert str(entry.user_id) == client.session["_auth_user_id"]
    assert edit.by == entry.user.get_username()
    assert edit.why == "ticket <b>7</b>"
    assert f"(edit {edit.pk})" in entry.change_message
    assert "ticket <b>7</b>" in entry.change_message
    page = client.get(page_of(row)).content.decode()
    assert page.count("ticket &lt;b&gt;7&lt;/b&gt;") == 1  # the timeline tells it once


def test_back_to_the_payload_keeps_what_was_typed(log_in):
    """And changes nothing."""
    client, row = log_in(*EDIT), fresh()

    again = client.post(form_of(row), {"payload": NEW, "step": "again"})

    assert '{"coupon": "NEW"}' in text_of(again)
    assert "errorlist" not in text_of(again)
    assert not PayloadEdit.objects.exists()


@pytest.mark.parametrize("payload", ["", "nonsense", "[]", '{"coupon": 5}', '{"coupn": "X"}'])
def test_what_is_wrong_is_said_at_the_field_and_nothing_is_written(log_in, payload):
    """Whoever typed it is still here."""
    client, row = log_in(*EDIT), fresh()

    for step in ("check", "confirm"):
        fields = {"payload": payload, "step": step, "why": "x", "shown": edits.stamp(row)}
        text = text_of(client.post(form_of(row), fields))
        assert "errorlist" in text
        if "coup" in payload:
            assert re.search(r"coup\w+ is ", text)  # by name

    assert not PayloadEdit.objects.exists()
    assert not LogEntry.objects.exists()


def test_what_has_not_changed_is_refused(log_in):
    """That is a redrive."""
    client, row = log_in(*EDIT), fresh()

    assert "redrive it" in text_of(check(client, row, json.dumps(OLD)))


def test_without_a_reason_nothing_is_done(log_in):
    """An audit entry without a why answers no question."""
    client, row = log_in(*EDIT), fresh()
    question = check(client, row)

    for why in ("", "   ", "x" * 501, "\x00"):
        again = confirm(client, row, question, why=why)
        assert "errorlist" in text_of(again)

    assert not PayloadEdit.objects.exists()


def test_a_form_that_is_sent_twice_edits_once(log_in):
    """A double click is one wish."""
    client, row = log_in(*ALL), failed()
    question = check(client, row)

    answers = [confirm(client, row, question, did_not_happen="on") for _ in range(2)]

    assert "Nothing was changed" in messages_of(answers[1])
    assert PayloadEdit.objects.count() == LogEntry.objects.count() == 1
    row.refresh_from_db()
    assert row.generation == 1


def test_what_changed_since_it_was_shown_is_left_alone(log_in):
    """What is confirmed is what was shown."""
    client, row = log_in(*ALL), failed()
    question = check(client, row)
    remedy.redrive(remedy.of("default", [row.pk]), by="bob", why="the bank is back")
    before = as_stored(row)

    answer = confirm(client, row, question, did_not_happen="on")

    assert "Nothing was changed" in messages_of(answer)
    assert as_stored(row) == before
    assert not PayloadEdit.objects.exists()
    assert not LogEntry.objects.exists()


def test_a_form_that_says_not_what_it_has_seen_changes_nothing(log_in):
    """Nobody has looked at anything."""
    client, row = log_in(*EDIT), fresh()

    client.post(form_of(row), {"payload": NEW, "step": "confirm", "why": "x"})

    assert not PayloadEdit.objects.exists()


def test_get_changes_nothing(log_in):
    """Whatever its address says."""
    client, row = log_in(*ALL), fresh()
    before = as_stored(row)

    fields = {"payload": NEW, "step": "confirm", "why": "x", "shown": edits.stamp(row)}
    assert client.get(form_of(row), fields).status_code == 200

    assert as_stored(row) == before
    assert not PayloadEdit.objects.exists()


# Who may


@pytest.mark.parametrize(
    ("permissions", "status"),
    [
        (("view_delivery",), 403),
        (("view_delivery", "view_outboxevent"), 403),
        (("view_delivery", "edit_payload_delivery"), 403),
        (("view_outboxevent", "edit_payload_delivery"), 403),
        (("view_delivery", "view_outboxevent", "redrive_delivery"), 403),
        (EDIT, 200),
    ],
)
def test_it_needs_its_own_permission_and_that_to_see_payloads(log_in, permissions, status):
    """Who may redrive may not say what the effect is told."""
    client, row = log_in(*permissions), fresh()

    assert client.get(form_of(row)).status_code == status
    fields = {"payload": NEW, "step": "confirm", "why": "x", "shown": edits.stamp(row)}
    answer = client.post(form_of(row), fields)

    assert PayloadEdit.objects.exists() == (status == 200)
    assert answer.status_code == (302 if status == 200 else 403)
    if "view_delivery" in permissions:
        page = client.get(page_of(row)).content.decode()
        assert ("edit-payload" in page) == (status == 200)


@pytest.mark.parametrize(
    ("notes", "permissions", "may"),
    [
        (None, EDIT, False),
        (None, ANEW_TOO, False),
        (None, ALL, True),
        ({Notes.ABSENT: 1}, EDIT, False),
        ({Notes.ABSENT: 1}, ANEW_TOO, True),
    ],
)
def test_what_has_run_needs_the_permissions_of_a_new_key_and_of_a_word(
    log_in, notes, permissions, may
):
    """It is to start anew, and where it may have happened to settle."""
    client, row = log_in(*permissions), failed(notes=notes)

    question = check(client, row)
    fields = {"payload": NEW, "step": "confirm", "why": "x", "did_not_happen": "on"}
    client.post(form_of(row), fields | {"shown": edits.stamp(row)})

    assert ("cannot be edited" in text_of(question)) == (not may)
    assert PayloadEdit.objects.exists() == may
    row.refresh_from_db()
    assert row.generation == int(may)


def test_a_word_is_asked_for_and_nothing_is_done_without_it(log_in):
    """Only somebody who has looked knows."""
    client, row = log_in(*ALL), failed()
    question = check(client, row)

    assert "will happen a second time" in text_of(question)
    assert "errorlist" in text_of(confirm(client, row, question))
    assert not PayloadEdit.objects.exists()

    confirm(client, row, question, did_not_happen="on")
    assert "on my word" in LogEntry.objects.get().change_message


@pytest.mark.parametrize("state", State)
def test_what_runs_or_happened_has_no_form(log_in, state):
    """It says why."""
    client, row = log_in(*ALL), IN_STATE[state](RECEIPT, event=PLACED, payload=OLD)

    text = text_of(client.get(form_of(row)))

    assert ("cannot be edited" in text) == (state not in ANEW)
    assert ("edit-payload" in text_of(client.get(page_of(row)))) == (state in ANEW)


def test_a_delivery_that_is_not_there_is_not_found(log_in):
    """Nor is what is no id."""
    client = log_in(*EDIT)

    for pk in ("7777", "nonsense", "9" * 40):
        address = f"/admin/reliable_effects/delivery/{pk}/edit-payload/"
        assert client.get(address).status_code == 404


# What is shown


def test_the_form_has_what_other_pages_hide_and_says_so(log_in):
    """What is hidden cannot be edited."""
    client, row = log_in(*EDIT), pending_delivery("shop.wrap", payload={"card": "4111", "n": 1})

    text = text_of(client.get(form_of(row)))
    assert "4111" in text
    assert "Here it is shown" in text

    plain = text_of(client.get(form_of(pending_delivery("shop.wrap", payload={"n": 1}))))
    assert "Here it is shown" not in plain


def test_hostile_text_is_text(log_in):
    """In the form, in what differs, and in what is wrong with it."""
    hostile = "</textarea></pre><script>alert(1)</script>"
    client, row = log_in(*EDIT), pending_delivery("shop.wrap", payload={hostile: hostile})

    pages = [
        client.get(form_of(row)),
        check(client, row, json.dumps({hostile: f"{hostile}!"})),
        check(client, row, hostile),
    ]

    for page in pages:
        assert page.status_code == 200
        assert "<script>alert" not in page.content.decode()
    confirm(client, row, pages[1], why=hostile)
    assert PayloadEdit.objects.get().payload == {hostile: f"{hostile}!"}


def test_no_page_needs_inline_script_or_style(log_in):
    """A strict Content-Security-Policy refuses them."""
    client, row = log_in(*EDIT), fresh()

    for page in (client.get(form_of(row)), check(client, row)):
        assert not re.search(
            r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", page.content.decode()
        )


@override_settings(ROOT_URLCONF="tests.console.timeline.urls")
def test_on_a_custom_site_it_stays_there(log_in):
    """Under the name that the project gave it."""
    client, row = log_in(*EDIT), fresh()
    address = form_of(row).replace("/admin/", "/ours/")

    question = client.post(address, {"payload": NEW, "step": "check"})
    fields = {"payload": NEW, "step": "confirm", "why": "x", "shown": edits.stamp(row)}
    answer = client.post(address, fields)

    assert f'href="/ours/reliable_effects/delivery/{row.pk}/change/"' in text_of(question)
    assert answer.url == f"/ours/reliable_effects/delivery/{row.pk}/change/"


# What differs


def test_what_is_alike_is_left_out_of_what_differs():
    """One line in a thousand is what somebody looks for."""
    old = [f"line {n}" for n in range(1000)]
    new = [*old[:500], "other", *old[501:]]

    found = diffs.lines("\n".join(old), "\n".join(new))

    assert [(line.mark, line.text) for line in found if line.mark in "+-"] == [
        ("-", "line 500"),
        ("+", "other"),
    ]
    assert len(found) == 10
    assert [line.text for line in found if line.mark == "…"] == [
        "497 lines that are alike",
        "496 lines that are alike",
    ]


def test_two_changes_far_apart_leave_out_what_lies_between():
    """And say how much."""
    old = [str(n) for n in range(100)]
    new = ["a", *old[1:99], "b"]

    found = diffs.lines("\n".join(old), "\n".join(new))

    assert [line.mark for line in found] == list("-+   …   -+")
    assert "92 lines" in found[5].text


@pytest.mark.parametrize(
    ("old", "new"), [("", ""), ("", "a"), ("a", ""), ("a\na", "a"), ("a", "b")]
)
def test_the_smallest_texts_differ_too(old, new):
    """Nothing is told twice, nothing is left out."""
    found = diffs.lines(old, new)

    assert [line.text for line in found if line.mark in " -"] == old.splitlines()
    assert sorted(line.text for line in found if line.mark in " +") == sorted(new.splitlines())


def test_texts_that_have_nothing_in_common_take_no_long_comparison():
    """Two lists of thirty thousand numbers."""
    old, new = ("\n".join(f"{n} {word}" for n in range(30_000)) for word in ("a", "b"))

    found = diffs.lines(old, new)

    assert len(found) == 60_000
