"""People find a record by its key, and settle what is uncertain; keys and answers stay unseen."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from reliable_effects.models import IdempotencyRecord, RecordState
from tests.admin.conftest import log_in  # noqa: F401  # a fixture
from tests.idempotency.records import DAY, HOUR, a_record, an_uncertain_record

pytestmark = pytest.mark.django_db

LIST = "/admin/reliable_effects/idempotencyrecord/"
HOSTILE = "<script>alert('ä \"quoted\" 🧨')</script>{{ 7|add:7 }}"


@pytest.fixture(autouse=True)
def _the_admin_is_there(settings, plan):  # noqa: ARG001  # it goes first
    settings.ROOT_URLCONF = "tests.urls"


@pytest.fixture
def viewer(log_in):  # noqa: F811  # the fixture
    return log_in("view_idempotencyrecord")


@pytest.fixture
def resolver(log_in):  # noqa: F811  # the fixture
    return log_in("view_idempotencyrecord", "resolve_idempotencyrecord")


def shown(client, address: str, **terms: str) -> str:
    response = client.get(address, terms)
    assert response.status_code == 200
    return response.content.decode()


def listed(client, **terms: str) -> set[int]:
    return {row.pk for row in client.get(LIST, terms).context["cl"].result_list}


def page_of(record: IdempotencyRecord) -> str:
    return f"{LIST}{record.pk}/change/"


def ask(client, verb: str, *records: IdempotencyRecord):
    ids = [record.pk for record in records]
    return client.post(LIST, {"action": verb, "_selected_action": ids})


def confirm(client, verb: str, *records: IdempotencyRecord, why: str = "I asked the bank."):
    ids = ",".join(str(record.pk) for record in records)
    first = records[0].pk
    data = {"action": verb, "_selected_action": first, "ids": ids, "why": why}
    return client.post(LIST, data, follow=True)


# To find


def test_a_record_is_found_by_the_key_that_the_client_sent(viewer):
    record = a_record("key-1")
    a_record("key-2")

    assert listed(viewer, q="key-1") == {record.pk}
    assert listed(viewer, q=' "key-1" ') == {record.pk}
    assert listed(viewer, q="key") == set()


def test_a_record_of_an_older_secret_is_found(viewer, settings):
    """A rotated secret must not hide what a customer asks about."""
    record = a_record("key-1")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "new"
    viewer.force_login(User.objects.get())  # its session was signed with the old one

    assert listed(viewer, q="key-1") == {record.pk}


def test_the_hash_is_no_way_in(viewer):
    """Whoever has a copy of the table asks with what stands there."""
    record = a_record("key-1")

    assert listed(viewer, q=record.key) == set()


def test_records_are_filtered_by_outcome_and_age(viewer):
    young = a_record("1", ago=HOUR / 2)
    old = a_record("2", ago=3 * DAY)
    lost = an_uncertain_record("3", ago=3 * DAY)

    assert listed(viewer, state="uncertain") == {lost.pk}
    assert listed(viewer, state="done") == {young.pk, old.pk}
    assert listed(viewer, begun="hour") == {young.pk}
    assert listed(viewer, begun="older") == {old.pk, lost.pk}
    assert listed(viewer, begun="older", state="done") == {old.pk}
    assert listed(viewer, begun="old") == set()


# What is seen


def test_no_page_shows_the_key_or_the_answer(viewer):
    """Both are a customer's; and who has the key may ask for the answer."""
    record = a_record("key-of-ada")

    for page in (shown(viewer, LIST), shown(viewer, page_of(record))):
        assert "key-of-ada" not in page
        assert record.key not in page
        assert "4242" not in page


def test_no_page_reads_an_answer(viewer):
    """A list of a hundred would read a hundred of them."""
    record = a_record()

    with CaptureQueriesContext(connection) as queries:
        shown(viewer, LIST)
        shown(viewer, page_of(record))

    assert not [q for q in queries if '"body"' in q["sql"] or "`body`" in q["sql"]]


@pytest.mark.parametrize("look", ["body__gte", "headers__icontains", "fingerprint__startswith"])
def test_no_address_asks_for_an_answer(viewer, look):
    """Whoever may only look could guess it, byte by byte."""
    a_record()

    assert viewer.get(LIST, {look: "Y2FyZCA0MjQy"}).status_code == 400


def test_hostile_text_is_text(viewer):
    record = an_uncertain_record(operation=HOSTILE[:200])
    IdempotencyRecord.objects.update(reason=HOSTILE)

    for page in (
        shown(viewer, LIST),
        shown(viewer, page_of(record)),
        shown(viewer, LIST, q=HOSTILE),
    ):
        assert "<script>alert(" not in page


def test_the_list_counts_no_further_than_a_bound(viewer):
    a_record()

    with CaptureQueriesContext(connection) as queries:
        shown(viewer, LIST)

    assert all("LIMIT" in q["sql"] for q in queries if "COUNT(" in q["sql"])


def test_without_the_permission_there_is_nothing_to_see(log_in):  # noqa: F811  # the fixture
    assert log_in("view_delivery").get(LIST).status_code == 403


def test_nothing_can_be_changed_but_by_the_remedies(resolver, admin_client):
    record = an_uncertain_record()

    for client in (resolver, admin_client):
        assert client.get(f"{LIST}add/").status_code == 403
        assert client.post(f"{LIST}{record.pk}/delete/", {"post": "yes"}).status_code == 403
        client.post(page_of(record), {"state": RecordState.DONE})

    record.refresh_from_db()
    assert record.state == RecordState.UNCERTAIN


# To resolve


@pytest.mark.parametrize(
    ("verb", "state"),
    [("resolve_happened", RecordState.DONE), ("resolve_did_not", RecordState.RELEASED)],
)
def test_a_person_says_how_it_ended(resolver, verb, state):
    record = an_uncertain_record()

    page = confirm(resolver, verb, record)
    record.refresh_from_db()

    assert record.state == state
    assert record.reason == "I asked the bank."
    assert "1 record was resolved" in page.content.decode()
    (entry,) = LogEntry.objects.all()
    assert entry.object_id == str(record.pk)
    assert entry.user == User.objects.get()
    assert entry.change_message.endswith("(one of 1): I asked the bank.")


def test_the_page_before_says_what_will_be_done_and_does_nothing(resolver):
    lost, done = an_uncertain_record("1"), a_record("2")

    page = ask(resolver, "resolve_happened", lost, done).content.decode()
    lost.refresh_from_db()

    assert "1 will be resolved: it was carried out" in page
    assert "POST /orders/" in page
    assert "it is done, and not uncertain" in page
    assert lost.state == RecordState.UNCERTAIN
    assert not LogEntry.objects.exists()


def test_a_reason_is_asked_for(resolver):
    record = an_uncertain_record()

    page = confirm(resolver, "resolve_happened", record, why=" ")
    record.refresh_from_db()

    assert "This field is required" in page.content.decode()
    assert record.state == RecordState.UNCERTAIN


def test_only_what_is_uncertain_is_resolved(resolver):
    """The first request may have come back between the page and its button."""
    record = an_uncertain_record()
    IdempotencyRecord.objects.update(state=RecordState.DONE, status=201)

    page = confirm(resolver, "resolve_did_not", record).content.decode()
    record.refresh_from_db()

    assert record.state == RecordState.DONE
    assert "1 left alone, because they are not uncertain any more." in page
    assert not LogEntry.objects.exists()


def test_to_see_is_not_to_resolve(viewer):
    record = an_uncertain_record()

    assert "carried out…" not in shown(viewer, page_of(record))
    confirm(viewer, "resolve_happened", record)

    record.refresh_from_db()
    assert record.state == RecordState.UNCERTAIN


def test_the_page_of_an_uncertain_record_has_the_buttons(resolver):
    assert "It was carried out…" in shown(resolver, page_of(an_uncertain_record("1")))
    assert "carried out…" not in shown(resolver, page_of(a_record("2")))


def test_a_get_changes_nothing(resolver):
    record = an_uncertain_record()

    resolver.get(LIST, {"action": "resolve_happened", "ids": record.pk, "why": "x"})

    record.refresh_from_db()
    assert record.state == RecordState.UNCERTAIN
