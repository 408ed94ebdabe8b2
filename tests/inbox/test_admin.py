"""People see which messages were handled, and find one by the id its sender names."""

from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from reliable_effects import inbox
from reliable_effects.inbox.models import InboxMessage
from tests.admin.conftest import log_in  # noqa: F401  # a fixture
from tests.faults.plans.touched import touched

from .conftest import fill

pytestmark = pytest.mark.django_db

LIST = "/admin/reliable_effects/inboxmessage/"
HOSTILE = "<script>alert('ä \"quoted\" 🧨')</script>{{ 7|add:7 }}"


@pytest.fixture
def viewer(log_in):  # noqa: F811  # the fixture
    return log_in("view_inboxmessage")


def received(*ids: str, consumer: str = "billing", payload: object = None) -> None:
    for message_id in ids:
        with transaction.atomic():
            inbox.claim(message_id, consumer=consumer, payload=payload)


def shown(client, query: str = "", **terms: str) -> str:
    response = client.get(LIST + query, terms)
    assert response.status_code == 200
    return response.content.decode()


def listed(client, **terms: str) -> set[str]:
    page = client.get(LIST, terms)
    return {row.message_id for row in page.context["cl"].result_list}


def test_a_message_is_found_by_its_whole_id(viewer):
    received("evt_1", "evt_11")
    received("evt_1", consumer="parcels")

    assert listed(viewer, q="evt_1") == {"evt_1"}
    assert listed(viewer, q=" evt_11 ") == {"evt_11"}
    assert listed(viewer, q="evt") == set()


def test_an_id_that_was_cut_is_found_all_the_same(viewer):
    received("x" * 300 + "1" + "x" * 300, "x" * 300 + "2" + "x" * 300)

    page = viewer.get(LIST, {"q": "x" * 300 + "2" + "x" * 300})

    assert page.context["cl"].result_count == 1


def test_they_are_filtered_by_consumer_and_by_conflict(viewer):
    received("evt_1", "evt_2", payload=b"one")
    received("evt_2", payload=b"another")
    received("evt_3", consumer="parcels")

    assert listed(viewer, consumer="parcels") == {"evt_3"}
    assert listed(viewer, conflicted="yes") == {"evt_2"}
    assert listed(viewer, consumer="nobody") == set()


def test_hostile_ids_are_text(viewer):
    """A sender chooses them."""
    received(HOSTILE)
    row = InboxMessage.objects.get()

    for page in (shown(viewer), shown(viewer, f"{row.pk}/change/"), shown(viewer, q=HOSTILE)):
        assert "<script>alert(" not in page
        assert "&lt;script&gt;alert(" in page


def test_nothing_can_be_changed(viewer, admin_client):
    """Not by superusers either: who deletes a row runs a message again."""
    received("evt_1")
    row = InboxMessage.objects.get()

    for client in (viewer, admin_client):
        assert client.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403
        assert client.get(f"{LIST}add/").status_code == 403
        client.post(f"{LIST}{row.pk}/change/", {"consumer": "x"})
        client.post(LIST, {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"})

    row.refresh_from_db()
    assert row.consumer == "billing"


def test_without_the_permission_there_is_nothing_to_see(log_in):  # noqa: F811  # the fixture
    assert log_in("view_delivery").get(LIST).status_code == 403


def test_no_page_shows_the_hash(viewer):
    received("evt_1", payload=b"one")
    row = InboxMessage.objects.get()

    assert row.payload_hash
    assert row.payload_hash[-40:] not in shown(viewer) + shown(viewer, f"{row.pk}/change/")


def test_the_list_counts_no_further_than_a_bound(viewer):
    """A month of messages may be millions."""
    received("evt_1")

    with CaptureQueriesContext(
        connection,
    ) as queries:
        shown(viewer)

    counting = [q["sql"] for q in queries if "COUNT(" in q["sql"]]
    assert counting
    assert all("LIMIT" in sql for sql in counting)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="for servers that tell what they read")
def test_a_full_table_is_not_read_for_a_page(viewer):
    """A month of messages may be millions."""
    fill(20_000)
    received("evt_1", "evt_2", consumer="quiet", payload=b"one")
    received("evt_2", consumer="quiet", payload=b"two")

    if connection.vendor == "postgresql":  # MariaDB's would commit; and it asks the index itself
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {InboxMessage._meta.db_table}")

    for terms in ({"consumer": "quiet"}, {"q": "evt_1"}, {"conflicted": "yes"}, {}):
        with touched() as found:
            assert listed(viewer, **terms)

        # All of them are counted so far as the bound.
        pages = [s for s in found if terms or "COUNT(" not in s.sql]
        assert sum(s.rows for s in pages) < 500, terms
