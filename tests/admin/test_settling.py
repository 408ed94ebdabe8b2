"""Nobody knows whether it happened, until a person says so: in the admin, with a reason."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry

from reliable_effects import signals
from reliable_effects.clock import DbNow
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from reliable_effects.outgoing.models import Known, OutgoingCall
from tests.admin.conftest import LIST, VIEW, page_of
from tests.admin.test_remedies import ask, confirm, messages_of, state_of
from tests.outbox.conftest import listening, poisoned_delivery, uncertain_delivery

pytestmark = pytest.mark.django_db

LEADS_TO = {"settle_happened": State.SUCCEEDED, "settle_not_happened": State.PENDING}


def for_a_person(**columns) -> Delivery:
    return uncertain_delivery(look_at=None, **columns)


def sent(delivery, known) -> None:
    OutgoingCall.objects.create(
        key=delivery.idempotency_key, delivery=delivery, send_token=1, known=known,
        first_sent_at=DbNow(), last_sent_at=DbNow(),
    )  # fmt: skip


def confirm_with_word(client, question):
    hidden = re.findall(
        r'<input type="hidden" name="(\w+)" value="([^"]*)"', question.content.decode()
    )
    fields = {name: value for name, value in hidden if name != "csrfmiddlewaretoken"}
    return client.post(LIST, {**fields, "why": "asked", "did_not_happen": "on"}, follow=True)


@pytest.mark.parametrize("verb", LEADS_TO)
def test_it_is_settled_with_a_reason_and_written_down(
    verb, operator, django_capture_on_commit_callbacks
):
    """A year later somebody asks who said so."""
    delivery = for_a_person()

    question = ask(operator, verb, delivery)
    assert state_of(delivery) == State.UNCERTAIN
    with (
        listening(signals.delivery_settled) as told,
        django_capture_on_commit_callbacks(execute=True),
    ):
        answer = confirm(operator, question, why="the bank says so")

    assert state_of(delivery) == LEADS_TO[verb]
    assert "1 delivery was settled as" in messages_of(answer)
    assert "the bank says so" in LogEntry.objects.get().change_message
    assert [(t["happened"], t["why"], t["delivery_id"]) for t in told] == [
        (verb == "settle_happened", "the bank says so", delivery.pk)
    ]


@pytest.mark.parametrize("verb", LEADS_TO)
def test_only_what_is_uncertain_is_settled(verb, operator):
    delivery = poisoned_delivery()

    text = ask(operator, verb, delivery).content.decode()

    assert "None of these can be settled" in text
    assert "redrive it, or cancel it" in text


@pytest.mark.parametrize("verb", [*LEADS_TO, "start_anew"])
def test_each_needs_a_permission_of_its_own(verb, log_in):
    """Whoever may redrive may not say what happened at the bank."""
    client = log_in(*VIEW, "redrive_delivery", "cancel_delivery")
    delivery = for_a_person()

    assert f'<option value="{verb}">' not in client.get(LIST).content.decode()
    assert f'value="{verb}"' not in client.get(page_of(delivery)).content.decode()
    client.post(
        LIST, {"action": verb, "_selected_action": [delivery.pk], "ids": delivery.pk, "why": "x"}
    )

    assert state_of(delivery) == State.UNCERTAIN


@pytest.mark.parametrize("known", [Known.REFUSED, Known.NOT_SENT, Known.TURNED_AWAY])
def test_what_surely_did_not_happen_is_started_anew(known, log_in):
    client = log_in(*VIEW, "start_anew_delivery")
    delivery = poisoned_delivery()
    sent(delivery, known)
    before = delivery.idempotency_key

    question = ask(client, "start_anew", delivery)
    assert "under new keys" in question.content.decode()
    assert "did_not_happen" not in question.content.decode()  # that would be to settle
    confirm(client, question)

    delivery.refresh_from_db()
    assert (delivery.state, delivery.generation) == (State.PENDING, 1)
    assert delivery.idempotency_key != before


@pytest.mark.parametrize("known", [Known.UNKNOWN, Known.IN_PROGRESS, Known.DONE, None])
def test_what_may_have_happened_is_not_without_a_persons_word(known, operator):
    delivery = poisoned_delivery()
    if known:
        sent(delivery, known)

    question = ask(operator, "start_anew", delivery)
    assert "only with your word below" in question.content.decode()
    answer = confirm(operator, question)
    assert "1 left alone" in messages_of(answer)
    assert Delivery.objects.get().generation == 0
    confirm_with_word(operator, question)

    assert Delivery.objects.get().generation == 1
    assert "on my word" in LogEntry.objects.get().change_message


def test_who_may_not_settle_cannot_give_a_word(log_in):
    """Not by a form made by hand either."""
    client = log_in(*VIEW, "start_anew_delivery")
    delivery = poisoned_delivery()
    sent(delivery, Known.UNKNOWN)

    question = ask(client, "start_anew", delivery)
    assert "only somebody who has looked" in question.content.decode()
    fields = {"action": "start_anew", "_selected_action": [delivery.pk], "ids": delivery.pk}
    client.post(LIST, {**fields, "why": "x", "did_not_happen": "on"})

    assert Delivery.objects.get().generation == 0


@pytest.mark.parametrize("verb", ["start_anew", "settle_not_happened"])
def test_a_form_that_is_sent_twice_does_it_once(verb, operator):
    """Between the two it was sent again, and its answer was lost again."""
    delivery = for_a_person()
    question = ask(operator, verb, delivery)
    confirm_with_word(operator, question)
    Delivery.objects.update(state=State.UNCERTAIN, look_at=None, attempts=delivery.attempts)
    before = Delivery.objects.get()

    answer = confirm_with_word(operator, question)

    after = Delivery.objects.get()
    assert (after.state, after.generation) == (State.UNCERTAIN, before.generation)
    assert "since they were shown" in messages_of(answer)
    assert LogEntry.objects.count() == 1


def test_the_page_of_a_delivery_shows_what_is_known_of_its_calls(log_in):
    """What a person decides by."""
    client = log_in(*VIEW, "view_outgoingcall")
    delivery = for_a_person()
    sent(delivery, Known.UNKNOWN)

    text = client.get(page_of(delivery)).content.decode()

    assert "it may have been carried out" in text
    assert "settle it" in text
    calls = "/admin/reliable_effects/outgoingcall/"
    for term, is_found in ((delivery.idempotency_key, True), ("f" * 32, False), ("no key", False)):
        assert (
            "may have been carried out" in client.get(calls, {"q": term}).content.decode()
        ) == is_found
    assert client.get(f"{calls}{OutgoingCall.objects.get().pk}/change/").status_code == 200
    listed = client.get(calls, {"known": Known.UNKNOWN}).content.decode()
    assert f"#{delivery.pk}" in listed
    assert "0 outgoing calls" in client.get(calls, {"known": Known.DONE}).content.decode()
