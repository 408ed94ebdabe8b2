"""The pages of groups: what they show, to whom, and at what price."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from reliable_effects.clock import DbNow
from reliable_effects.console.groups.models import MOST_PILLS, FailureGroup
from reliable_effects.console.groups.states import GroupState
from reliable_effects.outbox.models import Attempt, Delivery
from tests.console.groups.conftest import (
    LIST,
    REFUSED,
    TIMED_OUT,
    VIEW,
    grouped,
    page_of,
    pill,
    the_group,
)
from tests.shop.models import Order

pytestmark = pytest.mark.django_db

DELIVERIES = "/admin/reliable_effects/delivery/"
HOSTILE = "<script>alert('no')</script>"


def a_group(fingerprint: str, **columns) -> FailureGroup:
    seen = {"first_seen_at": DbNow(), "last_seen_at": DbNow()}
    return FailureGroup.objects.create(
        fingerprint=fingerprint, **{"effect": "shop.wrap", **seen, **columns}
    )


def text_of(client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, answer
    return answer.content.decode()


def test_the_list_shows_the_biggest_group_first(log_in):
    """Where one bug has made most of the trouble."""
    pill(TIMED_OUT)
    for _ in range(3):
        pill()
    grouped()

    answer = log_in(*VIEW).get(LIST)

    shown = [group.fingerprint for group in answer.context["cl"].result_list]
    assert shown == [REFUSED, TIMED_OUT]
    text = answer.content.decode()
    for told in ("Refused", "shop.courier:book", "new", "the courier refused", "shop.wrap"):
        assert told in text


def test_the_list_is_filtered_by_state_effect_and_whether_it_is_over(log_in, make_effect):
    """By what a person asks first at night."""
    effect = make_effect()
    mine = a_group("1" * 32, pills=3)
    over = a_group("2" * 32, effect=effect.name)
    fixed = a_group("3" * 32, pills=1, state=GroupState.FIXED)
    client = log_in(*VIEW)

    def shown(query: str) -> set[int]:
        return {group.pk for group in client.get(f"{LIST}?{query}").context["cl"].result_list}

    assert shown("over=no") == {mine.pk, fixed.pk}
    assert shown("over=yes") == {over.pk}
    assert shown("state=fixed") == {fixed.pk}
    assert shown(f"effect={effect.name}") == {over.pk}
    assert shown("state=nonsense") == {mine.pk, over.pk, fixed.pk}


@pytest.mark.parametrize("column", ["sample_message", "note", "releases"])
def test_nobody_guesses_a_text_letter_by_letter(log_in, column):
    """Who may not read errors might ask which group's message begins with a, and with b."""
    a_group(REFUSED, pills=1)
    client = log_in("view_failuregroup")

    answer = client.get(f"{LIST}?{column}__startswith=a")

    assert answer.status_code in (302, 400)


def test_the_page_says_what_where_when_and_about_whom(log_in):
    """One page for the whole of it."""
    order = Order.objects.create()
    pill(attempt={"release": "v1", "host": "host-7:12"})
    newest = pill(
        subject=order,
        attempt={"release": "v2", "host": "host-7:99", "traceback": "in book: raise Refused"},
    )
    grouped()

    text = text_of(log_in(*VIEW), page_of(the_group()))

    for told in (
        "shop.Refused",
        "shop.courier:book",
        "every attempt failed",
        "the courier refused",
    ):
        assert told in text
    assert "in book: raise Refused" in text
    assert f"{DELIVERIES}{newest.pk}/change/" in text
    assert f"shop.Order:{order.pk}" in text
    for told in ("v1", "v2", "host-7", "of the last 2 pills"):
        assert told in text
    assert "host-7:99" not in text
    assert f"{DELIVERIES}?group={REFUSED}" in text


def test_errors_are_for_those_who_may_see_attempts(log_in):
    """A message may hold what is confidential."""
    pill(attempt={"message": "no courier for Ada", "traceback": "Ada, line 3"})
    grouped()
    client = log_in("view_failuregroup", "view_delivery")

    for address in (LIST, page_of(the_group())):
        assert "Ada" not in text_of(client, address)


def test_subjects_are_for_those_who_may_see_deliveries(log_in):
    """A link that leads nowhere helps nobody either."""
    order = Order.objects.create()
    pill(subject=order)
    grouped()

    text = text_of(log_in("view_failuregroup", "view_attempt"), page_of(the_group()))

    assert f"shop.Order:{order.pk}" not in text
    assert "?group=" not in text


def test_who_may_not_see_groups_sees_none(log_in):
    """Not even that there are any."""
    pill()
    grouped()
    client = log_in("view_delivery", "triage_failuregroup")

    assert client.get(LIST).status_code == 403
    assert client.get(page_of(the_group())).status_code == 403


def test_whatever_others_wrote_is_escaped(log_in):
    """A message, a name or a place may be hostile."""
    pill(
        attempt={
            "message": HOSTILE, "traceback": HOSTILE, "exception_type": HOSTILE, "place": HOSTILE,
            "host": f"{HOSTILE}:1", "release": HOSTILE,
        },
        effect=HOSTILE,
    )  # fmt: skip
    grouped()
    FailureGroup.objects.update(note=HOSTILE, owner=HOSTILE, fixed_in=HOSTILE)
    client = log_in(*VIEW, "triage_failuregroup")

    for address in (LIST, page_of(the_group())):
        text = text_of(client, address)
        assert HOSTILE not in text
        assert "&lt;script&gt;" in text


def test_a_count_that_was_cut_short_says_so(log_in):
    """A million and more is as much as anybody needs to know."""
    group = a_group(REFUSED, pills=MOST_PILLS)
    client = log_in(*VIEW)

    assert "1,000,000+" in text_of(client, LIST)
    assert "1,000,000+" in text_of(client, page_of(group))


def test_a_group_that_is_over_says_so(log_in):
    """It is history."""
    a_group(REFUSED, pills=0)

    assert "0, it is over" in text_of(log_in(*VIEW), LIST)


def test_what_is_left_of_a_pruned_sample_is_shown(log_in):
    """Its attempts may be gone, and the group is not."""
    row = pill()
    grouped()
    Attempt.objects.filter(delivery=row).delete()

    assert "the courier refused" in text_of(log_in(*VIEW), page_of(the_group()))


@pytest.mark.parametrize("pills", [1, 60])
def test_pages_ask_as_much_of_sixty_pills_as_of_one(log_in, pills):
    """Bounded, whatever there is."""
    for _ in range(pills):
        pill()
    grouped()
    client = log_in(*VIEW, "triage_failuregroup")
    group = the_group()

    with CaptureQueriesContext(connection) as listing:
        client.get(LIST)
    with CaptureQueriesContext(connection) as page:
        client.get(page_of(group))

    # Of these four are the session, the user and the permissions.
    assert len(listing) <= 9
    assert len(page) <= 13


# The list of deliveries


def test_deliveries_are_filtered_by_their_group(log_in):
    """The link of a group's page."""
    mine, other = pill(), pill(TIMED_OUT)
    grouped()
    stale = pill()
    Delivery.objects.filter(pk=stale.pk).update(state=2, fingerprint=REFUSED)
    client = log_in("view_delivery")

    answer = client.get(f"{DELIVERIES}?group={REFUSED}")

    shown = {row.pk for row in answer.context["cl"].result_list}
    assert shown == {mine.pk}
    assert other.pk not in shown
    assert "group of failures" in answer.content.decode()


@pytest.mark.parametrize("nonsense", ["nobody", "%00", "a" * 31, "é", "' OR 1=1"])
def test_a_group_that_is_none_has_no_deliveries(log_in, nonsense):
    """All of them instead would invite to redrive them all."""
    pill()
    grouped()

    answer = log_in("view_delivery").get(f"{DELIVERIES}?group={nonsense}")

    assert answer.status_code == 200
    assert not answer.context["cl"].result_list


def test_the_filter_is_not_offered_where_it_is_not_used(log_in):
    """Nobody types a hash."""
    pill()

    text = text_of(log_in("view_delivery"), DELIVERIES)

    assert "group of failures" not in text


def test_the_link_to_redrive_is_there_where_its_page_is(log_in, settings):
    """A project's site may not have it; and who may not redrive has no use for it."""
    pill()
    grouped()
    may, may_not = log_in(*VIEW, "redrive_delivery"), log_in(*VIEW)
    link = f"/redrive/?group={REFUSED}"

    assert link not in text_of(may, page_of(the_group()))
    settings.ROOT_URLCONF = "tests.console.groups.urls_with_redriving"
    assert link in text_of(may, page_of(the_group()))
    assert link not in text_of(may_not, page_of(the_group()))


def test_ages_are_shown_in_words(log_in):
    """Nobody computes with instants at night."""
    a_group(REFUSED, pills=1, last_seen_at=DbNow() - timedelta(hours=3))

    assert "3 h ago" in text_of(log_in(*VIEW), LIST)
