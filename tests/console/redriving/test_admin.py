"""From the list to the preview to the operation's page: to look changes nothing, to act needs leave."""

from __future__ import annotations

import html
import json
import re

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import resolve

from reliable_effects.console.redriving import beginning, steps
from reliable_effects.console.redriving.models import (
    OperationState,
    Outcome,
    RedriveItem,
    RedriveOperation,
)
from reliable_effects.console.redriving.selection import Selection
from reliable_effects.outbox.admin import DeliveryAdmin
from reliable_effects.outbox.models import Delivery
from tests.admin.conftest import LIST
from tests.outbox.conftest import (
    an_event,
    pending_delivery,
    poisoned_delivery,
    raising,
    running_delivery,
    succeeded_delivery,
    uncertain_delivery,
)

from .conftest import ADD, OPERATIONS, VIEW, begun, later, page_of, released, seen, swept, work

pytestmark = pytest.mark.django_db

RAMP = {"why": "the bank is back", "rate": 600, "canary": 10, "halt_percent": 50}
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def operator(log_in):
    return log_in(*VIEW, "redrive_delivery")


def selection_in(response) -> str:
    text = response.content.decode()
    return html.unescape(re.search(r'name="selection" value="([^"]*)"', text)[1])


def in_list(client, *rows, across=False, query=""):
    """Choose the action in the list, as its form does."""
    chosen = {"_selected_action": [row.pk for row in rows], "select_across": int(across)}
    return client.post(LIST + query, {"action": "redrive_gradually", **chosen}, follow=True)


def everything() -> list[object]:
    return [
        sorted(Delivery.objects.values_list("pk", "state", "due_at")),
        sorted(RedriveOperation.objects.values_list("pk", "state", "turn")),
        RedriveItem.objects.count(),
        LogEntry.objects.count(),
    ]


# Beginning one


def test_all_that_the_filters_match_is_taken_not_the_page_alone(operator):
    """Select all 40,000: the filters go along, not ids."""
    pills = [poisoned_delivery("shop.wrap") for _ in range(3)]
    poisoned_delivery("shop.send_receipt")
    query = "?state=poisoned&effect=shop.wrap"

    page = in_list(operator, pills[0], across=True, query=query)
    answer = operator.post(ADD, {"selection": selection_in(page), **RAMP}, follow=True)

    operation = RedriveOperation.objects.get()
    assert answer.redirect_chain[-1][0] == page_of(operation)
    assert operation.selection == {"filters": {"effect": "shop.wrap", "state": "poisoned"}}
    swept()
    assert released(operation) == {row.pk for row in pills}


def test_what_is_ticked_is_taken_and_no_more(operator):
    pills = [poisoned_delivery() for _ in range(3)]

    page = in_list(operator, *pills[:2], query="?state=poisoned")
    operator.post(ADD, {"selection": selection_in(page), **RAMP})

    assert RedriveOperation.objects.get().selection == {"ids": [row.pk for row in pills[:2]]}


def test_who_began_it_and_why_is_in_its_history(operator):
    """One entry: 40,000 would bury all others, and each delivery names the operation by its item."""
    poisoned_delivery()
    page = operator.get(ADD, {"state": "poisoned"})

    operator.post(ADD, {"selection": selection_in(page), **RAMP})

    (entry,) = LogEntry.objects.all()
    operation = RedriveOperation.objects.get()
    assert (entry.object_id, str(entry.user_id)) == (
        str(operation.pk),
        operator.session["_auth_user_id"],
    )
    assert "the bank is back" in entry.get_change_message()
    assert (operation.by, operation.why) == ("user-0", "the bank is back")
    swept()
    item = RedriveItem.objects.of_delivery(Delivery.objects.get().pk).get()
    assert item.operation == operation


def test_the_preview_says_what_would_come_of_it_at_which_rate_and_for_how_long(operator):
    """Before anything changes."""
    poisoned_delivery("shop.wrap")
    poisoned_delivery("shop.left")

    text = operator.get(ADD, {"state": "poisoned"}).content.decode()

    for said in (
        "Nothing has been changed yet",
        "would run",
        "its effect is unknown here",
        "no effect was run",
        "At 600 in a minute that takes 1 min at the least",
        "state “poisoned”",
    ):
        assert said in text


def test_a_form_that_is_sent_twice_begins_one(operator):
    """Somebody is impatient; twice the canary is no canary."""
    poisoned_delivery()
    page = operator.get(ADD, {"state": "poisoned"})

    for _ in range(2):
        answer = operator.post(ADD, {"selection": selection_in(page), **RAMP}, follow=True)

    assert RedriveOperation.objects.count() == LogEntry.objects.count() == 1
    assert "begun already" in answer.content.decode()


@override_settings(ROOT_URLCONF="tests.admin.urls")
def test_a_site_without_our_page_says_so(operator):
    """A project registers what it likes."""
    row = poisoned_delivery()
    chosen = {"action": "redrive_gradually", "_selected_action": [row.pk], "select_across": 0}

    answer = operator.post("/operators/reliable_effects/delivery/", chosen, follow=True)

    assert "no page of redrive operations" in answer.content.decode()


def test_errors_of_guards_are_for_those_who_may_see_attempts(operator, make_effect):
    """They hold what payloads and rows hold; the others read the type of each."""
    poisoned_delivery(make_effect(still_needed=raising(ValueError("no mail to ada@example.com"))))

    text = operator.get(ADD, {"state": "poisoned"}).content.decode()

    assert "ValueError" in text
    assert "ada@example.com" not in text


def test_what_a_guard_says_is_shown_escaped(log_in, make_effect):
    operator = log_in(*VIEW, "redrive_delivery", "view_attempt")
    poisoned_delivery(make_effect(still_needed=raising(ValueError(HOSTILE))))

    text = operator.get(ADD, {"state": "poisoned"}).content.decode()

    assert "the guard itself failed" in text
    assert html.escape(HOSTILE) in text
    assert HOSTILE not in text


@pytest.mark.parametrize(
    ("said", "about"),
    [
        ({"why": ""}, "required"),
        ({"rate": 0}, "greater than or equal to 1"),
        ({"rate": 10**6}, "less than or equal to"),
        ({"canary": 700}, "at most the rate"),
        ({"halt_percent": 101}, "less than or equal to 100"),
    ],
)
def test_a_form_that_does_not_fit_begins_nothing(operator, said, about):
    poisoned_delivery()
    page = operator.get(ADD, {"state": "poisoned"})

    again = operator.post(ADD, {"selection": selection_in(page), **RAMP, **said})

    assert about in again.content.decode()
    assert selection_in(again) == selection_in(page)
    assert not RedriveOperation.objects.exists()


@pytest.mark.parametrize(
    "query", ["", "?state=bogus", "?state=poisoned&color=red", f"?state={HOSTILE}", "?effect=a.b"]
)
def test_a_selection_that_is_not_understood_is_refused(operator, query):
    """With what is wrong, and escaped."""
    answer = operator.get(ADD + query)

    assert answer.status_code == 400
    assert "errornote" in answer.content.decode()
    assert HOSTILE not in answer.content.decode()


@pytest.mark.parametrize(
    "posted", ["", "{", "[" * 100_000, '{"ids": ["1"]}', '{"filters": {}}', "null", "1" * 300_000]
)
def test_a_selection_that_a_browser_made_up_is_refused(operator, posted):
    poisoned_delivery()

    assert operator.post(ADD, {"selection": posted, **RAMP}).status_code == 400
    assert not RedriveOperation.objects.exists()


def test_all_of_a_list_without_a_filter_is_refused_where_it_was_asked(operator):
    """Or everything that was ever cancelled would run."""
    row = poisoned_delivery()

    answer = in_list(operator, row, across=True)

    assert "Choose a state" in answer.content.decode()


def test_nobody_takes_more_than_their_list_shows(operator, monkeypatch):
    """A project may narrow it for a person, and the sweep knows of none."""
    mine, others = poisoned_delivery("shop.wrap"), poisoned_delivery("shop.send_receipt")
    rows = DeliveryAdmin.get_queryset
    monkeypatch.setattr(
        DeliveryAdmin, "get_queryset", lambda *args: rows(*args).filter(effect="shop.wrap")
    )
    page = operator.get(ADD, {"state": "poisoned"})
    assert json.loads(selection_in(page)) == {"ids": [mine.pk]}

    for forged in (
        Selection.of_ids([mine.pk, others.pk]),
        Selection.of_query({"state": ["poisoned"]}),
    ):
        operator.post(ADD, {"selection": json.dumps(forged.to_json()), **RAMP})

        operation = RedriveOperation.objects.get()
        assert operation.selection == {"ids": [mine.pk]}
        operation.delete()


def test_where_their_list_is_narrowed_too_many_are_refused_in_the_list(operator, monkeypatch):
    """The action says so, as the page does."""
    row = poisoned_delivery("shop.wrap")
    poisoned_delivery("shop.wrap")
    rows = DeliveryAdmin.get_queryset
    monkeypatch.setattr(
        DeliveryAdmin, "get_queryset", lambda *args: rows(*args).filter(effect="shop.wrap")
    )
    monkeypatch.setattr(beginning, "MOST_IDS", 1)

    answer = in_list(operator, row, across=True, query="?state=poisoned")

    assert "at most 1 at a time" in answer.content.decode()
    assert operator.get(ADD, {"state": "poisoned"}).status_code == 400


def test_the_preview_has_a_transaction_of_its_own():
    """Inside that of a request MariaDB could not be told to write nothing."""
    assert resolve(ADD).func._non_atomic_requests == {"default"}


# Looking, and leave


def test_to_look_changes_nothing(operator):
    poisoned_delivery("shop.wrap")
    uncertain_delivery(look_at=None)
    operation = begun()
    before = everything()

    for address in (
        f"{ADD}?state=poisoned", f"{ADD}?state=uncertain", OPERATIONS, page_of(operation),
        f"{OPERATIONS}{operation.pk}/history/",
    ):  # fmt: skip
        assert operator.get(address).status_code == 200, address
    for verb in ("pause", "resume", "cancel"):
        assert operator.get(f"{OPERATIONS}{operation.pk}/{verb}/").status_code == 405
    in_list(operator, poisoned_delivery(), query="?state=poisoned")

    assert everything()[1:] == before[1:]


def test_without_the_permission_nothing_is_begun_nor_stopped(log_in):
    """403, and nothing changed."""
    row = poisoned_delivery()
    operation = begun()
    viewer = log_in(*VIEW, "cancel_delivery")
    before = everything()

    assert viewer.get(ADD, {"state": "poisoned"}).status_code == 403
    posted = {"selection": '{"filters": {"state": "poisoned"}}', **RAMP}
    assert viewer.post(ADD, posted).status_code == 403
    for verb in ("pause", "resume", "cancel"):
        answer = viewer.post(f"{OPERATIONS}{operation.pk}/{verb}/", {"why": "x"})
        assert answer.status_code == 403
    in_list(viewer, row, query="?state=poisoned")

    assert viewer.get(page_of(operation)).status_code == 200
    assert 'value="Pause"' not in viewer.get(page_of(operation)).content.decode()
    assert "redrive_gradually" not in viewer.get(LIST).content.decode()
    assert everything() == before
    stranger = log_in("view_sweep")
    assert stranger.get(OPERATIONS).status_code == 403
    assert stranger.get(page_of(operation)).status_code == 403


# One operation


def test_a_person_pauses_resumes_and_cancels_with_a_reason(operator):
    """Each is written down, and said on the page."""
    poisoned_delivery()
    operation = begun()

    def act(verb, why="because"):
        address = f"{OPERATIONS}{operation.pk}/{verb}/"
        return operator.post(address, {"why": why}, follow=True).content.decode()

    assert "Say why" in act("pause", " ")
    assert seen(operation).state == OperationState.GATHERING
    assert "It is paused" in act("pause")
    assert seen(operation).state == OperationState.PAUSED
    assert "no longer in a state" in act("pause")
    assert "It is resumed" in act("resume", HOSTILE)
    assert seen(operation).state == OperationState.GATHERING
    text = act("cancel")

    assert seen(operation).state == OperationState.CANCELLED
    assert [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")] == [
        "Paused: because",
        f"Resumed: {HOSTILE}",
        "Cancelled: because",
    ]
    assert HOSTILE not in text
    assert html.escape(HOSTILE) in text


def test_the_page_shows_progress_and_what_became_of_each(operator, make_effect):
    """With links to the deliveries, and nothing unescaped."""
    make_effect(raising(ConnectionError(HOSTILE)), max_attempts=1, name="test.failing")
    event = an_event()
    rows = [poisoned_delivery("test.failing", event=event) for _ in range(6)]
    poisoned_delivery("shop.wrap")
    operation = begun(canary=6, why=HOSTILE)
    swept()
    work()
    with later():
        steps.step("default", operation.pk)
    RedriveItem.objects.filter(outcome=Outcome.WAITING).update(
        outcome=Outcome.LEFT_ALONE, remark=HOSTILE
    )

    text = operator.get(page_of(operation)).content.decode()

    assert '<progress class="re-progress" max="7" value="6"' in text
    assert "6 of 7 ended, 6 released" in text
    assert "builtins.ConnectionError (6)" in text
    assert f"/delivery/{rows[-1].pk}/change/" in text
    assert "halted" in text
    assert HOSTILE not in text
    assert html.escape(HOSTILE) in text
    assert HOSTILE not in operator.get(OPERATIONS).content.decode()


def test_no_page_asks_more_of_the_database_as_the_operation_grows(operator):
    event = an_event()
    asked = []
    for _ in range(2):
        for _ in range(30):
            poisoned_delivery("shop.wrap", event=event)
        operation = begun(canary=20)
        swept()
        counts = []
        for address in (OPERATIONS, page_of(operation), f"{ADD}?state=poisoned"):
            operator.get(address)  # what Django keeps in memory is read
            with CaptureQueriesContext(connection) as queries:
                assert operator.get(address).status_code == 200
            counts.append(len([q for q in queries if "SAVEPOINT" not in q["sql"]]))
        asked.append(counts)

    assert asked[1][:2] == asked[0][:2]
    assert max(asked[1][:2]) <= 16
    # The preview asks about each: its subject, here, and what the effect wants to know.
    assert asked[1][2] <= 12 + 2 * 60


def test_what_is_forgotten_is_said(operator):
    """After the retention the counts stay, the rows do not."""
    operation = begun()
    RedriveOperation.objects.update(forgotten_at=operation.created_at)

    assert "no longer kept" in operator.get(page_of(operation)).content.decode()


def test_a_history_that_somebody_damaged_is_shown_as_it_is(operator):
    operation = begun()
    RedriveOperation.objects.update(history=[["when", HOSTILE], 7, [HOSTILE], {"a": 1}])

    text = operator.get(page_of(operation)).content.decode()

    assert html.escape(HOSTILE) in text
    assert HOSTILE not in text


def test_what_is_left_alone_is_said_and_nothing_is_offered_for_it(operator):
    """Ticked by mistake, or done since the list was opened."""
    rows = [succeeded_delivery(), running_delivery(), pending_delivery()]

    text = in_list(operator, *rows).content.decode()

    for said in ("already done", "running: left alone", "waits already", "None of these can be"):
        assert said in text
    assert 'name="selection"' not in text
