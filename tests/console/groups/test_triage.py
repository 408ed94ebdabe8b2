"""Acknowledge, mark as fixed, reopen: asked for, confirmed with a reason, and written down."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry

from reliable_effects.console.groups import triage
from reliable_effects.console.groups.models import FailureGroup
from reliable_effects.console.groups.states import GroupState
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from tests.console.groups.conftest import LIST, VIEW, grouped, page_of, pill, the_group

pytestmark = pytest.mark.django_db

BUTTONS = {"acknowledge": "Acknowledge", "mark_fixed": "Mark as fixed", "reopen": "Reopen"}


@pytest.fixture
def group() -> FailureGroup:
    pill()
    grouped()
    return the_group()


def ask(client, verb, group):
    return client.post(LIST, {"action": verb, "_selected_action": [group.pk]})


def confirm(client, question, **said):
    hidden = re.findall(
        r'<input type="hidden" name="(\w+)" value="([^"]*)"', question.content.decode()
    )
    fields = {name: value for name, value in hidden if name != "csrfmiddlewaretoken"}
    return client.post(LIST, {**fields, "why": "the courier moved", **said}, follow=True)


def test_who_acknowledges_is_its_owner(triager, group):
    """Whoever is woken next knows whom to ask."""
    question = ask(triager, "acknowledge", group)
    assert the_group().state == GroupState.NEW
    confirm(triager, question)

    group = the_group()
    assert (group.state, group.owner) == (GroupState.ACKNOWLEDGED, "user-0")
    assert group.note == "the courier moved"
    assert group.acknowledged_at is not None
    assert Delivery.objects.get().state == State.POISONED
    entry = LogEntry.objects.get()
    assert entry.object_id == str(group.pk)
    assert entry.change_message == "Acknowledged (one of 1): the courier moved"


def test_a_group_is_marked_as_fixed_in_a_release(triager, group, settings):
    """The release of this process is a good guess."""
    settings.RELIABLE_EFFECTS = {"RELEASE": "2026.11"}
    question = ask(triager, "mark_fixed", group)
    assert 'value="2026.11"' in question.content.decode()
    confirm(triager, question, release=" 2026.12 ")

    group = the_group()
    assert (group.state, group.fixed_in) == (GroupState.FIXED, "2026.12")
    assert group.fixed_at is not None
    said = LogEntry.objects.get().change_message
    assert said == "Marked as fixed in 2026.12 (one of 1): the courier moved"


def test_a_group_is_reopened(triager, group):
    """It was not what somebody took it for."""
    triage.acknowledge(FailureGroup.objects.all(), by="bob", note="mine")

    confirm(triager, ask(triager, "reopen", group))

    assert (the_group().state, the_group().owner) == (GroupState.NEW, "")
    assert LogEntry.objects.get().change_message.startswith("Reopened")


@pytest.mark.parametrize("said", [{"release": ""}, {"release": "x" * 101}, {"why": " "}])
def test_without_a_release_or_a_reason_nothing_is_done(triager, group, said):
    """Neither can be made up later."""
    question = ask(triager, "mark_fixed", group)

    again = confirm(triager, question, **{"release": "v2"} | said)

    assert "errorlist" in again.content.decode()
    assert the_group().state == GroupState.NEW
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("verb", BUTTONS)
def test_triage_needs_a_permission_of_its_own(log_in, group, verb):
    """Who may look, or redrive, may not say that something is fixed."""
    client = log_in(*VIEW, "redrive_delivery", "cancel_delivery")
    FailureGroup.objects.update(state=GroupState.ACKNOWLEDGED)

    listing = client.get(LIST).content.decode()
    page = client.get(page_of(group)).content.decode()
    client.post(
        LIST,
        {
            "action": verb,
            "_selected_action": [group.pk],
            "ids": group.pk,
            "why": "x",
            "release": "v",
        },
    )

    assert f'value="{verb}"' not in listing + page
    assert the_group().state == GroupState.ACKNOWLEDGED
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("verb", BUTTONS)
def test_to_look_changes_nothing(triager, group, verb):
    """A GET is a look; links are followed by whoever shares them."""
    FailureGroup.objects.update(state=GroupState.ACKNOWLEDGED)
    before = FailureGroup.objects.values().get()

    triager.get(LIST, {"action": verb, "_selected_action": group.pk, "ids": group.pk, "why": "x"})
    triager.get(page_of(group))

    assert FailureGroup.objects.values().get() == before


@pytest.mark.parametrize(
    ("state", "offered"),
    [
        (GroupState.NEW, {"acknowledge", "mark_fixed"}),
        (GroupState.ACKNOWLEDGED, {"acknowledge", "mark_fixed", "reopen"}),
        (GroupState.FIXED, {"reopen"}),
        (GroupState.CAME_BACK, {"acknowledge", "mark_fixed", "reopen"}),
    ],
)
def test_the_page_offers_what_can_be_done(triager, group, state, offered):
    """A button that would change nothing is none."""
    FailureGroup.objects.update(state=state)

    page = triager.get(page_of(group)).content.decode()

    assert {verb for verb in BUTTONS if f'name="action" value="{verb}"' in page} == offered


def test_what_became_of_it_since_it_was_shown_is_respected(triager, group):
    """It came back while somebody typed that it is fine."""
    question = ask(triager, "acknowledge", group)
    FailureGroup.objects.update(state=GroupState.CAME_BACK)

    answer = confirm(triager, question)

    assert the_group().state == GroupState.CAME_BACK
    assert "left alone" in answer.content.decode()


def test_new_pills_do_not_stand_in_the_way(triager, group):
    """A group that grows each minute could be acknowledged by nobody."""
    question = ask(triager, "acknowledge", group)
    pill()
    grouped()

    confirm(triager, question)

    assert the_group().state == GroupState.ACKNOWLEDGED


def test_a_form_that_is_sent_twice_is_one_entry(triager, group):
    """A double click."""
    question = ask(triager, "mark_fixed", group)

    confirm(triager, question, release="v2")
    confirm(triager, question, release="v3")

    assert the_group().fixed_in == "v2"
    assert LogEntry.objects.count() == 1


def test_the_question_says_what_is_left_alone_and_why(triager, group):
    """Before, not after."""
    FailureGroup.objects.update(state=GroupState.FIXED)

    text = ask(triager, "acknowledge", group).content.decode()

    assert "it is marked as fixed; reopen it first" in text
    assert 'name="why"' not in text
