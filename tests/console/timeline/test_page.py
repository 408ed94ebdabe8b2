"""The page of one delivery: why it is not running, and what has become of it."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.contrib import admin
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from reliable_effects.console.timeline.admin import register
from reliable_effects.console.timeline.why import why
from reliable_effects.outbox import edits
from reliable_effects.outbox.admin import register as register_outbox
from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.pausing import pause
from reliable_effects.outbox.payloads import PayloadEdit
from reliable_effects.outbox.states import Notes
from tests.admin.conftest import page_of
from tests.outbox.conftest import pending_delivery, poisoned_delivery

pytestmark = pytest.mark.django_db

HOSTILE = "</pre></dd><script>alert('ä \"q\" 🧨')</script>{{ 7|add:7 }}"


def shown(client, row) -> str:
    response = client.get(page_of(row))
    assert response.status_code == 200
    return response.content.decode()


def test_the_sentence_stands_at_the_top(viewer):
    """It is what somebody came for."""
    pause("shop.wrap", by="ada", why="no paper")
    row = pending_delivery("shop.wrap")

    text = unescape(shown(viewer, row))

    assert why(row).sentence.partition(" (")[0] in text
    assert text.index("Why is it not running?") < text.index('id="re-timeline-title"')
    assert text.index("Why is it not running?") < text.index("field-effect")


def test_the_timeline_is_an_ordered_list_with_times(viewer):
    """A screen reader counts its items."""
    row = poisoned_delivery()
    Attempt.objects.create(delivery=row, number=1, outcome="failed", message="declined")

    text = shown(viewer, row)

    listed = re.search(r'<ol class="re-timeline">(.*?)</ol>', text, re.DOTALL)[1]
    assert listed.count("<li") == 4  # emitted, attempt, ended, now
    assert listed.count("<time datetime=") == 3
    assert "declined" in listed


def test_an_attempt_is_told_once(viewer):
    """The list of attempts that the outbox's own page has is in the timeline."""
    row = poisoned_delivery()
    Attempt.objects.create(delivery=row, number=1, outcome="failed", message="card declined")

    assert shown(viewer, row).count("card declined") == 1


def test_what_a_person_put_there_is_text(viewer):
    """So is what came from outside."""
    row = poisoned_delivery(HOSTILE, payload={HOSTILE: HOSTILE}, notes={HOSTILE: 1})
    Attempt.objects.create(
        delivery=row, number=1, outcome=HOSTILE[:20], message=HOSTILE, traceback=HOSTILE,
        host=HOSTILE, release=HOSTILE, exception_type=HOSTILE,
    )  # fmt: skip
    PayloadEdit.objects.create(
        delivery=row, event_id=row.event_id, payload={HOSTILE: HOSTILE}, version=1, generation=0,
        by=HOSTILE, why=HOSTILE,
    )  # fmt: skip

    text = shown(viewer, row)

    assert "<script>alert" not in text
    assert "{{ 7|add:7 }}" in text  # and no template
    assert "re-timeline" in text


def test_a_payload_is_shown_without_what_looks_secret(viewer):
    """On the page, and in what was edited."""
    row = pending_delivery("shop.wrap", payload={"card": "4111", "name": "Ada"})

    text = shown(viewer, row)

    assert "Ada" in text
    assert "4111" not in text
    assert "What looks secret is hidden." in text


def test_the_payload_in_force_is_shown(viewer):
    """It is what the effect will get."""
    row = pending_delivery("shop.wrap", payload={"name": "OLD"})
    edits.edit(row, '{"name": "NEW"}', by="bob", why="a typing error")
    row.refresh_from_db()

    text = shown(viewer, row)

    field = re.search(r'class="form-row field-payload">(.*?)</pre>', text, re.DOTALL)[1]
    assert "NEW" in field
    assert "OLD" not in field
    assert "Edited by a person: edit" in text


def test_an_edit_that_is_gone_is_said(viewer):
    """Rather than the payload that will not run."""
    row = pending_delivery("shop.wrap", payload={"name": "OLD"}, notes={Notes.EDIT: 7})

    text = shown(viewer, row)

    assert "OLD" not in text
    assert "the edit is not in the database" in text


def test_payloads_and_errors_need_their_permissions(log_in):
    """As before."""
    row = pending_delivery("shop.wrap", payload={"name": "Ada"})
    Attempt.objects.create(delivery=row, number=1, outcome="failed", message="declined")
    PayloadEdit.objects.create(
        delivery=row, event_id=row.event_id, payload={"name": "Eve"}, version=1, generation=0,
        by="bob", why="typo",
    )  # fmt: skip

    text = shown(log_in("view_delivery"), row)

    assert "Attempt 1: failed" in text
    for hidden in ("declined", "Ada", "Eve", "Edit payload"):
        assert hidden not in text


def test_get_changes_nothing_and_asks_as_much_for_one_attempt_as_for_a_hundred(viewer):
    """It is opened a hundred times a day, also while an outage fills the tables."""

    def asked(row) -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            shown(viewer, row)
        return [query["sql"] for query in queries]

    one, many = poisoned_delivery(), poisoned_delivery()
    Attempt.objects.create(delivery=one, number=1, outcome="failed")
    for number in range(100):
        Attempt.objects.create(delivery=many, number=number, outcome="failed")
    before = Delivery.objects.values().get(pk=one.pk)

    asked(one)  # what is read once in a process
    queries = asked(one)

    assert len(asked(many)) == len(queries) <= 20
    assert not [sql for sql in queries if sql.startswith(("UPDATE", "INSERT", "DELETE"))]
    assert Delivery.objects.values().get(pk=one.pk) == before


def test_no_inline_script_or_style(viewer):
    """A strict Content-Security-Policy refuses them."""
    text = shown(viewer, poisoned_delivery())

    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*(src=|application/json))", text)


def test_a_custom_site_may_have_it_with_or_without_the_outboxs_own():
    """In whatever order it registers them."""
    for begin in (lambda _: None, register_outbox):
        site = admin.AdminSite(name="ours")
        begin(site)

        register(site)

        assert type(site.get_model_admin(Delivery)).__name__ == "DeliveryPage"


@override_settings(ROOT_URLCONF="tests.console.timeline.urls")
def test_on_a_custom_site_its_links_stay_there(operator):
    """Under the name that the project gave it."""
    text = operator.get(f"/ours/reliable_effects/delivery/{poisoned_delivery().pk}/change/")

    found = set(
        re.findall(r'(?:href|action)="(/[^"]*/reliable_effects/[^"]*/)"', str(text.content))
    )
    assert found
    assert all(address.startswith("/ours/") for address in found), found
