"""What the admin shows: everything a person needs, as text, and without counting a big table."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.contrib import admin
from django.contrib.admin.templatetags.admin_urls import admin_urlname
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from reliable_effects.console.timeline.why import why
from reliable_effects.effects.keys import new_event_id
from reliable_effects.outbox.admin import looked_through, pages
from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent, Sweep
from reliable_effects.outbox.states import State
from reliable_effects.reports.models import Report
from tests.admin.conftest import LIST, VIEW, page_of
from tests.outbox.conftest import (
    IN_STATE,
    pending_delivery,
    poisoned_delivery,
    succeeded_delivery,
    uncertain_delivery,
)
from tests.schedule.conftest import missed_job
from tests.shop.models import Order

pytestmark = pytest.mark.django_db

HOSTILE = "</pre><script>alert('ä \"quoted\" 🧨')</script>{{ 7|add:7 }}"
EVENTS = "/admin/reliable_effects/outboxevent/"
SWEEPS = "/admin/reliable_effects/sweep/"


def shown(client, address) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def listed(client, query="") -> set[int]:
    found = re.findall(r'name="_selected_action" value="(\d+)"', shown(client, LIST + query))
    links = re.findall(r"/delivery/(\d+)/change/", shown(client, LIST + query))
    assert not found or set(found) == set(links)
    return {int(pk) for pk in links}


# The list


def test_each_state_is_a_word(viewer):
    """No colour says what the words do not."""
    for make in IN_STATE.values():
        make()

    text = shown(viewer, LIST)

    for state in State:
        assert f">{state.label}</span>" in text


def test_a_retry_is_called_one_and_says_which(viewer):
    """Waiting for the first run and for the fourth are different worries."""
    pending_delivery("shop.send_receipt", attempts=2)

    text = shown(viewer, LIST)

    assert ">retrying</span>" in text
    assert "2/3" in text


def test_an_uncertain_delivery_that_waits_for_a_person_says_so(viewer):
    """Nobody else will do anything about it."""
    uncertain_delivery(look_at=None)

    assert "uncertain, needs a person" in shown(viewer, LIST)


def test_an_effect_that_this_release_does_not_know_is_shown_all_the_same(viewer):
    """Rows outlive code."""
    poisoned_delivery("gone.effect", attempts=3)

    assert "3/?" in shown(viewer, LIST)


@pytest.mark.parametrize("state", State)
def test_the_state_filter_leaves_that_state(viewer, state):
    """Asked for poison pills, it shows poison pills."""
    rows = {each: make() for each, make in IN_STATE.items()}

    assert listed(viewer, f"?state={state.label}") == {rows[state].pk}


def test_what_needs_a_person_is_one_filter(viewer):
    """The list that somebody looks at each morning."""
    for make in IN_STATE.values():
        make()
    asked = uncertain_delivery(look_at=None)

    poisoned = Delivery.objects.get(state=State.POISONED)
    assert listed(viewer, "?state=needs+a+person") == {poisoned.pk, asked.pk}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?effect=shop.wrap", "wrap"),
        ("?queue=payments", "charge"),
        ("?reason=KILLED_WORKERS", "charge"),
        ("?due=now", "wrap"),
        ("?state=nonsense&reason=X&due=Y&effect=Z", None),
    ],
)
def test_filters_leave_what_they_name_and_ignore_what_is_unknown(viewer, query, expected):
    """An old bookmark shows everything rather than an error."""
    rows = {
        "wrap": pending_delivery("shop.wrap"),
        "charge": poisoned_delivery("shop.charge_card", queue="payments", reason="KILLED_WORKERS"),
    }

    wanted = {rows[expected].pk} if expected else {row.pk for row in rows.values()}
    assert listed(viewer, query) == wanted


def test_a_delivery_is_found_by_its_subject_its_id_its_key_and_its_event(viewer):
    """By whatever somebody has at hand."""
    wanted = pending_delivery(subject=Order.objects.create(pk=70_001))
    pending_delivery(subject=Order.objects.create(pk=70_002))  # no number is an id here as well

    for term in (
        "shop.Order:70001", "shop.order 70001", "70001", str(wanted.pk), f"#{wanted.pk}",
        str(wanted.key), str(wanted.event_id), wanted.event_id.hex,
    ):  # fmt: skip
        assert listed(viewer, f"?q={term.replace('#', '%23')}") == {wanted.pk}, term


@pytest.mark.parametrize(
    "term", ["nothing", "shop.Order:", "9" * 40, "9" * 5000, "²", "%25", "'; DROP", "a" * 5000]
)
def test_a_search_for_nonsense_finds_nothing(viewer, term):
    """And breaks nothing."""
    pending_delivery()

    response = viewer.get(LIST, {"q": term})

    assert response.status_code == 200
    assert "0 deliveries" in response.content.decode()


def test_the_search_matches_nothing_in_part(viewer):
    """LIKE '%…%' over a table of millions is an outage."""
    pending_delivery()

    with CaptureQueriesContext(connection) as queries:
        viewer.get(LIST, {"q": "42"})

    assert not [q for q in queries if " LIKE " in q["sql"].upper()]


def test_no_page_counts_a_whole_table(viewer):
    """A COUNT over fifty million rows takes a minute."""
    delivery = pending_delivery()

    with CaptureQueriesContext(connection) as queries:
        for address in (LIST, LIST + "?q=42", page_of(delivery), EVENTS, SWEEPS):
            viewer.get(address)

    counts = [q["sql"] for q in queries if "COUNT(" in q["sql"] and "reliable_effects" in q["sql"]]
    assert counts
    assert all(re.search(r"LIMIT (10001|10000|2000)\b", sql) for sql in counts), counts


def test_no_filter_asks_the_table_for_its_choices(viewer):
    """DISTINCT reads every row; the code knows the names."""
    pending_delivery()

    with CaptureQueriesContext(connection) as queries:
        viewer.get(LIST)
        viewer.get(EVENTS)

    assert not [q for q in queries if "DISTINCT" in q["sql"]]


def test_a_count_that_was_cut_says_so(viewer, monkeypatch):
    """10,000 and at least 10,000 are different facts."""
    for _ in range(3):
        pending_delivery()
    assert "3 deliveries" in shown(viewer, LIST)

    monkeypatch.setattr(pages, "COUNT_AT_MOST", 2)

    assert "2+ deliveries" in shown(viewer, LIST)


def test_a_paginator_counts_so_far_and_no_further(monkeypatch):
    """Its pages end where its count does."""
    monkeypatch.setattr(pages, "COUNT_AT_MOST", 4)
    for _ in range(6):
        pending_delivery()

    paginator = pages.BoundedPaginator(Delivery.objects.order_by("-pk"), 2)

    assert (paginator.count, str(paginator.count), paginator.num_pages) == (4, "4+", 2)


def test_a_longer_list_asks_no_more_questions(viewer):
    """One query a row is what makes a page with a hundred rows slow."""

    def questions() -> int:
        with CaptureQueriesContext(connection) as queries:
            viewer.get(LIST)
        return len(queries)

    for _ in range(5):
        poisoned_delivery()
    shown(viewer, LIST)
    few = questions()
    for _ in range(45):
        poisoned_delivery()

    assert questions() == few


# The page of one delivery


def test_the_page_tells_the_whole_story(viewer):
    """Event, payload, siblings, attempts, keys: what one asks when something went wrong."""
    delivery = poisoned_delivery(
        "shop.charge_card",
        payload={"coupon": "SPRING"},
        notes={"kills": 2, "snoozed": 7200.0, "unheard_of": "kept"},
    )
    sibling = succeeded_delivery("shop.wrap")
    Delivery.objects.filter(pk=sibling.pk).update(event_id=delivery.event_id)
    Attempt.objects.create(
        delivery=delivery, number=1, outcome="failed", exception_type="shop.Declined",
        message="card declined", traceback="Traceback: line 7", host="web-1:42", release="v9",
    )  # fmt: skip

    text = shown(viewer, page_of(delivery))

    for fact in (
        "poisoned", "every attempt failed", "shop.charge_card", "8/8", "SPRING", str(delivery.key),
        delivery.idempotency_key, str(delivery.event.correlation), f"#{sibling.pk}",
        "shop.Declined", "card declined", "Traceback: line 7", "web-1:42", "v9",
        "Its worker died 2 times", "Snoozed for 2 h", "unheard_of: kept",
    ):  # fmt: skip
        assert fact in text, fact


@pytest.mark.parametrize("state", State)
def test_the_page_says_what_comes_next(viewer, state):
    """Whose turn it is, is the first thing to know."""
    delivery = IN_STATE[state]()

    sentence = why(delivery).sentence.partition(" (")[0]  # not how far away that is
    assert sentence in unescape(shown(viewer, page_of(delivery)))


def test_hostile_text_is_text_wherever_it_is_shown(viewer):
    """Payloads and error messages come from outside."""
    delivery = poisoned_delivery(
        HOSTILE, payload={"x": HOSTILE}, notes={HOSTILE: HOSTILE}, worker=HOSTILE, queue=HOSTILE,
        event={
            "name": HOSTILE, "subject_model": HOSTILE, "subject_pk": HOSTILE, "trace_id": HOSTILE,
            "source": "<script>",
        },
    )  # fmt: skip
    Attempt.objects.create(
        delivery=delivery, number=1, outcome="failed", exception_type=HOSTILE, message=HOSTILE,
        traceback=HOSTILE, host=HOSTILE, release=HOSTILE, fingerprint="<script>",
    )  # fmt: skip
    Sweep.objects.create(name=HOSTILE)

    pages_shown = [
        shown(viewer, address)
        for address in (
            LIST,
            page_of(delivery),
            EVENTS,
            f"{EVENTS}{delivery.event_id}/change/",
            SWEEPS,
        )
    ]

    for text in pages_shown:
        assert "<script>alert" not in text
        assert "</pre><script" not in text
        assert "&lt;script&gt;" in text


def test_no_page_needs_inline_script_or_style(operator):
    """A strict Content-Security-Policy refuses them."""
    delivery = poisoned_delivery()
    Attempt.objects.create(delivery=delivery, number=1, outcome="failed", message="x")
    confirm = operator.post(LIST, {"action": "redrive", "_selected_action": [delivery.pk]})

    for text in (
        shown(operator, LIST), shown(operator, page_of(delivery)), confirm.content.decode(),
    ):  # fmt: skip
        assert not re.search(
            r"<style|\sstyle=|\son\w+=|<script(?![^>]*(src=|application/json))", text
        )


def test_no_page_shows_what_looks_secret_in_a_payload(log_in):
    """Whoever may see payloads sees them on a screen that others see too."""
    client = log_in("view_delivery", "view_outboxevent", "view_scheduledjob", "view_report")
    secret = {"card": {"number": "4111111111111111"}, "note": "password=hunter2", "name": "Ada"}
    delivery = pending_delivery(payload=secret)
    job = missed_job(payload=secret)
    report = Report.objects.create(name="shop.usage", identity="x", parameters=secret)

    for row in (delivery, delivery.event, job, report):
        text = shown(client, reverse(admin_urlname(row._meta, "change"), args=[row.pk]))

        assert "Ada" in text
        assert "4111" not in text
        assert "hunter2" not in text


def test_payloads_and_tracebacks_are_for_those_who_may_see_them(log_in):
    """They may hold what a state does not."""
    client = log_in("view_delivery")
    delivery = poisoned_delivery(payload={"iban": "DE02"})
    Attempt.objects.create(delivery=delivery, number=1, outcome="failed", message="token 7")

    text = shown(client, page_of(delivery))

    assert "poisoned" in text
    assert "DE02" not in text
    assert "token 7" not in text


def test_a_subject_links_to_its_own_page_for_who_may_open_it(viewer, log_in):
    """From the delivery to the order in one click; a link that ends in 403 only wastes a minute."""
    reader = log_in(*VIEW, "view_order")
    delivery = pending_delivery()
    page = f"/admin/shop/order/{delivery.event.subject_pk}/change/"
    own_page = f"{LIST}{delivery.pk}/change/"
    assert page not in shown(reader, LIST)

    admin.site.register(Order)
    try:
        with override_settings(ROOT_URLCONF="tests.admin.urls_of_orders"):
            assert page in shown(reader, LIST)
            assert page in shown(reader, own_page)
            assert page not in shown(viewer, LIST)
            assert page not in shown(viewer, own_page)
            assert f"shop.Order:{delivery.event.subject_pk}" in shown(viewer, LIST)
    finally:
        admin.site.unregister(Order)


# Events and sweeps


def test_events_are_found_by_subject_and_show_their_deliveries(viewer):
    """What became of one fact."""
    delivery = poisoned_delivery(subject=Order.objects.create(pk=70_002))
    OutboxEvent.objects.create(
        id=new_event_id(), name="shop.other", correlation=delivery.event.correlation, source="emit"
    )

    found = shown(viewer, EVENTS + "?q=shop.Order:70002")
    page = shown(viewer, f"{EVENTS}{delivery.event_id}/change/")

    assert found.count("/outboxevent/0") == 1
    assert f"#{delivery.pk}" in page
    assert str(delivery.event_id) in shown(viewer, f"{EVENTS}?q={delivery.event_id}")


def test_sweeps_show_when_they_ran(viewer):
    """A sweep that stopped is an alarm."""
    Sweep.objects.create(name="relay", seen=7, done=5)

    text = shown(viewer, SWEEPS)

    assert "relay" in text
    assert "s ago" in text


# Reading only


@pytest.mark.parametrize("model", ["delivery", "outboxevent", "sweep"])
def test_not_even_a_superuser_can_add_edit_or_delete(admin_client, model):
    """Rows change by the verbs that guard them, and by nothing else."""
    delivery = poisoned_delivery()
    Sweep.objects.create(name="relay")
    pk = {"delivery": delivery.pk, "outboxevent": delivery.event_id, "sweep": "relay"}[model]
    base = f"/admin/reliable_effects/{model}/"

    statuses = [
        admin_client.get(f"{base}add/").status_code,
        admin_client.post(f"{base}{pk}/change/", {"state": 2}).status_code,
        admin_client.post(f"{base}{pk}/delete/", {"post": "yes"}).status_code,
    ]

    assert statuses == [403, 403, 403]
    assert "delete_selected" not in shown(admin_client, base)
    delivery.refresh_from_db()
    assert delivery.state == State.POISONED


def test_reading_changes_nothing(operator):
    """GET is for looking, also with an action in the address."""
    delivery = poisoned_delivery()
    before = Delivery.objects.values().get()

    operator.get(
        LIST, {"action": "redrive", "_selected_action": delivery.pk, "ids": delivery.pk, "why": "x"}
    )
    operator.get(page_of(delivery))

    assert Delivery.objects.values().get() == before


def test_without_permission_there_is_nothing_to_see(log_in):
    """Staff is not enough."""
    client = log_in()

    assert client.get(LIST).status_code == 403
    assert client.get(page_of(poisoned_delivery())).status_code == 403


def test_who_is_not_logged_in_is_sent_to_the_login():
    assert Client().get(LIST).status_code == 302


@override_settings(ROOT_URLCONF="tests.admin.urls")
def test_a_site_of_the_projects_own_shows_the_same(operator):
    """Its links stay on it."""
    delivery = poisoned_delivery()
    base = "/operators/reliable_effects/delivery/"

    listing = shown(operator, base)
    page = shown(operator, f"{base}{delivery.pk}/change/")
    confirm = operator.post(base, {"action": "redrive", "_selected_action": [delivery.pk]})

    assert f"{base}{delivery.pk}/change/" in listing
    assert f"/operators/reliable_effects/outboxevent/{delivery.event_id}" in page
    assert "/operators/" in confirm.content.decode()
    for text in (page, confirm.content.decode()):
        assert 'href="/admin/' not in text


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?effect=shop.wrap", "the newest 1 deliveries"),
        ("?state=succeeded", "the newest 1 deliveries"),
        ("?reason=REFUSED", "the newest 1 that are poisoned"),
        ("?state=retrying", "the 1 waiting ones that are due first"),
    ],
)
def test_a_list_that_is_not_looked_through_says_so(viewer, monkeypatch, query, said):
    """ "None" and "none among the newest" are different facts."""
    monkeypatch.setattr(looked_through, "NEWEST", 1)
    monkeypatch.setattr(looked_through, "OF_STATE", 1)
    for _ in range(2):
        poisoned_delivery()
        pending_delivery()

    text = viewer.get(LIST + query).content.decode()

    assert f"Looked through: {said}." in text


@pytest.mark.parametrize("query", ["", "?state=poisoned", "?effect=shop.wrap", "?due=now"])
def test_a_short_list_is_looked_through(viewer, query):
    """Most projects have no ten million rows."""
    pending_delivery()

    assert "Looked through" not in viewer.get(LIST + query).content.decode()


def test_a_short_list_with_large_ids_is_looked_through(viewer):
    """What was pruned has taken its numbers with it."""
    pending_delivery(pk=5 * looked_through.NEWEST)

    assert "Looked through" not in viewer.get(LIST + "?effect=shop.wrap").content.decode()


def test_a_delivery_whose_event_is_gone_is_listed(viewer):
    """No constraint holds the event, and who lost it must find what is left."""
    delivery = pending_delivery()
    OutboxEvent.objects.filter(pk=delivery.event_id).delete()

    assert listed(viewer, "") == {delivery.pk}
