"""Redrive and cancel: asked for, explained, confirmed with a reason, done, and written down."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client, override_settings

from reliable_effects import signals
from reliable_effects.outbox import remedy
from reliable_effects.outbox.admin import confirming
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from tests.admin.conftest import LIST, VIEW, page_of
from tests.outbox.conftest import (
    IN_STATE,
    listening,
    pending_delivery,
    poisoned_delivery,
    running_delivery,
    succeeded_delivery,
)

pytestmark = pytest.mark.django_db

LEADS_TO = {"redrive": State.PENDING, "cancel": State.CANCELLED}
VERBS = sorted(LEADS_TO)


def ask(client, verb, *rows, across=False, query=""):
    """Choose the action in the list, as its form does."""
    chosen = {"_selected_action": [row.pk for row in rows], "select_across": int(across)}
    return client.post(LIST + query, {"action": verb, **chosen})


def confirm(client, response, why="the partner is back", query=""):
    """Send the confirmation page's form with what the page has put in it."""
    hidden = re.findall(
        r'<input type="hidden" name="(\w+)" value="([^"]*)"', response.content.decode()
    )
    fields = {name: value for name, value in hidden if name != "csrfmiddlewaretoken"}
    return client.post(LIST + query, {**fields, "why": why}, follow=True)


def messages_of(response) -> str:
    return " ".join(str(message) for message in response.context["messages"])


def state_of(row) -> State:
    return State(Delivery.objects.get(pk=row.pk).state)


@pytest.mark.parametrize("verb", VERBS)
def test_a_remedy_is_done_when_it_is_confirmed_and_not_before(operator, verb):
    """The first click only asks."""
    delivery = poisoned_delivery()

    question = ask(operator, verb, delivery)
    assert state_of(delivery) == State.POISONED
    answer = confirm(operator, question)

    assert state_of(delivery) == LEADS_TO[verb]
    assert "1 delivery was" in messages_of(answer)


@pytest.mark.parametrize("verb", VERBS)
def test_the_question_says_how_many_will_change_and_why_others_will_not(operator, verb):
    """A remedy says beforehand what it will do."""
    rows = [poisoned_delivery("shop.wrap") for _ in range(3)]
    rows += [running_delivery(), succeeded_delivery()]

    text = ask(operator, verb, *rows).content.decode()

    assert "3 will be" in text
    assert "every attempt failed" in text
    assert "a worker is running it" in text
    assert "it happened" in text


def test_without_a_reason_nothing_is_done(operator):
    """An audit entry without a why answers no question."""
    delivery = poisoned_delivery()
    question = ask(operator, "redrive", delivery)

    for why in ("", "   ", "x" * 501, "\x00"):
        again = confirm(operator, question, why=why)

        assert "errorlist" in again.content.decode()
    assert state_of(delivery) == State.POISONED
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("verb", VERBS)
def test_each_changed_row_has_an_entry_with_who_and_why(operator, verb):
    """A year later somebody asks."""
    changed = [poisoned_delivery(), poisoned_delivery()]
    left = running_delivery()
    who = operator.session["_auth_user_id"]

    confirm(operator, ask(operator, verb, *changed, left), why="ticket <b>7</b> “ü”")

    entries = LogEntry.objects.all()
    assert {int(entry.object_id) for entry in entries} == {row.pk for row in changed}
    for entry in entries:
        assert str(entry.user_id) == who
        assert "one of 2" in entry.change_message
        assert "ticket <b>7</b> “ü”" in entry.change_message
    history = operator.get(f"{LIST}{changed[0].pk}/history/").content.decode()
    assert "ticket &lt;b&gt;7&lt;/b&gt;" in history


def test_the_signal_names_the_person_and_the_reason(operator, django_capture_on_commit_callbacks):
    """Whoever watches learns the same as the history."""
    delivery = poisoned_delivery()
    question = ask(operator, "redrive", delivery)

    with (
        listening(signals.delivery_redriven) as told,
        django_capture_on_commit_callbacks(execute=True),
    ):
        confirm(operator, question, why="fixed")

    assert [(fact["by"], fact["why"]) for fact in told] == [("user-0", "fixed")]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("may", [(), ("redrive_delivery",), ("cancel_delivery",)])
def test_each_remedy_needs_its_own_permission(log_in, verb, may):
    """Who may look may not act, and who may redrive may not give up."""
    client = log_in(*VIEW, *may)
    delivery = poisoned_delivery()
    allowed = f"{verb}_delivery" in may

    listing = client.get(LIST).content.decode()
    page = client.get(page_of(delivery)).content.decode()
    fields = {"action": verb, "_selected_action": [delivery.pk], "ids": delivery.pk, "why": "x"}
    client.post(LIST, fields)

    assert (f'<option value="{verb}">' in listing) == allowed
    assert (f'name="action" value="{verb}"' in page) == allowed
    assert (state_of(delivery) == LEADS_TO[verb]) == allowed


def test_a_permission_to_act_does_not_open_the_list(log_in):
    """One acts on what one may see."""
    client = log_in("redrive_delivery")
    delivery = poisoned_delivery()

    fields = {
        "action": "redrive",
        "_selected_action": [delivery.pk],
        "ids": delivery.pk,
        "why": "x",
    }

    assert client.post(LIST, fields).status_code == 403
    assert state_of(delivery) == State.POISONED


def test_a_form_from_elsewhere_is_refused(operator):
    """Another site's page cannot make a logged in browser redrive anything."""
    delivery = poisoned_delivery()
    browser = Client(enforce_csrf_checks=True)
    browser.cookies = operator.cookies

    fields = {
        "action": "redrive",
        "_selected_action": [delivery.pk],
        "ids": delivery.pk,
        "why": "x",
    }

    assert browser.post(LIST, fields).status_code == 403
    assert state_of(delivery) == State.POISONED


@pytest.mark.parametrize("state", State)
def test_a_page_offers_what_can_be_done(operator, state):
    """A button that would refuse is worse than none."""
    delivery = IN_STATE[state]()

    text = operator.get(page_of(delivery)).content.decode()

    offered = {verb for verb in remedy.ALLOWED if f'name="action" value="{verb}"' in text}
    assert offered == {v for v, states in remedy.ALLOWED.items() if state in states}


def test_what_was_shown_is_what_is_done(operator):
    """Rows that came to match the filter after the question were never agreed to."""
    shown = [poisoned_delivery(), poisoned_delivery()]
    question = ask(operator, "redrive", shown[0], across=True, query="?state=poisoned")
    later = poisoned_delivery()

    confirm(operator, question, query="?state=poisoned")

    assert [state_of(row) for row in shown] == [State.PENDING] * 2
    assert state_of(later) == State.POISONED


def test_what_has_changed_since_the_question_is_left_alone(operator):
    """The state that counts is the one at the moment of the change."""
    gone_on, still = poisoned_delivery(), poisoned_delivery()
    question = ask(operator, "redrive", gone_on, still)
    Delivery.objects.filter(pk=gone_on.pk).update(state=State.SUCCEEDED)

    answer = confirm(operator, question)

    assert (state_of(gone_on), state_of(still)) == (State.SUCCEEDED, State.PENDING)
    assert "1 delivery was" in messages_of(answer)
    assert "1 left alone" in messages_of(answer)


def test_confirmed_twice_it_is_done_once(operator):
    """A double click on the button."""
    delivery = poisoned_delivery()
    question = ask(operator, "redrive", delivery)

    confirm(operator, question)
    confirm(operator, question)

    assert LogEntry.objects.count() == 1
    assert Delivery.objects.get(pk=delivery.pk).notes == {"round": 1}


def test_all_that_match_are_taken_up_to_a_bound_and_the_rest_is_named(operator, monkeypatch):
    """A hundred thousand rows are not done in one request, and not cut silently."""
    monkeypatch.setattr(confirming, "AT_MOST", 3)
    monkeypatch.setattr(confirming, "CHUNK", 2)
    rows = [poisoned_delivery() for _ in range(5)]

    question = ask(operator, "redrive", rows[0], across=True, query="?state=poisoned")
    answer = confirm(operator, question, query="?state=poisoned")

    assert "More were selected" in question.content.decode()
    assert "3 deliveries were redriven" in messages_of(answer)
    assert Delivery.objects.poisoned().count() == 2


def test_nothing_to_do_offers_nothing_to_confirm(operator):
    """And says so."""
    text = ask(operator, "redrive", succeeded_delivery(), pending_delivery()).content.decode()

    assert "None of these can be redriven" in text
    assert 'name="why"' not in text


@pytest.mark.parametrize("ids", ["", "x,,²", "1' OR 1=1", "9" * 5000, "-1", "0,99999999"])
def test_a_forged_list_of_ids_does_nothing(operator, ids):
    """What comes back from a browser is only a claim."""
    delivery = poisoned_delivery()

    fields = {"action": "redrive", "_selected_action": [delivery.pk], "ids": ids, "why": "x"}
    response = operator.post(LIST, fields, follow=True)

    assert response.status_code == 200
    assert state_of(delivery) == State.POISONED


def test_hostile_text_is_text_on_the_question(operator):
    """Effect names come from rows."""
    delivery = poisoned_delivery("<script>alert(1)</script>", reason="<b>")

    text = ask(operator, "redrive", delivery).content.decode()

    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "<b>" not in text


@override_settings(USE_THOUSAND_SEPARATOR=True)
def test_large_ids_survive_a_locale(operator):
    """1,234,567 is two ids too many."""
    delivery = poisoned_delivery(id=1_234_567)

    confirm(operator, ask(operator, "redrive", delivery))

    assert state_of(delivery) == State.PENDING
    page = operator.get(page_of(poisoned_delivery(id=7_654_321))).content.decode()
    assert 'name="_selected_action" value="7654321"' in page


def test_who_began_on_a_page_comes_back_to_it(operator):
    """To look what became of it; in a list of thousands it would have to be found again."""
    row, other = poisoned_delivery(), poisoned_delivery()
    page = f"{LIST}{row.pk}/change/"
    begun = {"action": "redrive", "_selected_action": row.pk}

    question = operator.post(LIST, {**begun, "from_page": "1"})
    answer = confirm(operator, question)
    from_list = confirm(operator, ask(operator, "redrive", other), query="?state=poisoned")

    assert f'href="{page}">Back, change nothing' in question.content.decode()
    assert answer.redirect_chain == [(page, 302)]
    assert "1 delivery was redriven" in messages_of(answer)
    assert from_list.redirect_chain[-1][0].startswith(LIST + "?")


def test_who_changes_nothing_comes_back_to_the_list_as_it_was(operator):
    """Filters that took a while to find."""
    question = ask(operator, "redrive", poisoned_delivery(), query="?state=poisoned")

    assert f'href="{LIST}?state=poisoned' in question.content.decode()
