"""How it goes: told to those whose it is, and to nobody else."""

from __future__ import annotations

from base64 import b64encode
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test.utils import CaptureQueriesContext

from reliable_effects import Event
from reliable_effects.clock import DbNow
from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent
from reliable_effects.outbox.states import Reason, State
from reliable_effects.rest_framework import EffectStatusViewSet, subjects
from tests.shop.models import Crate, Order

from .conftest import client_of, delivery_of, event_about, order_of
from .views import OrderStatus

pytestmark = pytest.mark.django_db


def address(event: OutboxEvent) -> str:
    return f"/api/effects/{event.pk}/"


@pytest.fixture
def event() -> OutboxEvent:
    return event_about(order_of("ada"))


# One document


def test_a_document_says_what_outsiders_may_know(ada, event):
    """Nothing of claims, leases, workers, keys, reasons or payloads."""
    delivery_of(event, State.RUNNING, attempts=2, worker="host-7")

    document = ada.get(address(event)).json()

    assert document == {
        "id": str(event.pk),
        "kind": "shop.order_seen",
        "subject": event.subject_pk,
        "status": "running",
        "created_at": document["created_at"],
        "finished_at": None,
        "progress": {"done": 0, "total": 1},
        "deliveries": [
            {"effect": "receipt", "status": "running", "attempts": 2, "next_attempt_at": None}
        ],
        "result": None,
        "error": None,
        "links": {"self": f"http://testserver{address(event)}", "cancel": None},
    }


def test_what_is_hidden_is_not_told_and_does_not_count(ada, event):
    """A check for fraud is nobody else's business."""
    delivery_of(event, State.POISONED, effect="shop.count_points", reason=Reason.REFUSED)
    delivery_of(event, State.SUCCEEDED)

    document = ada.get(address(event)).json()

    assert document["status"] == "succeeded"
    assert len(document["deliveries"]) == 1


def test_effects_and_events_are_meant_under_all_their_names(ada, make_effect, monkeypatch):
    """Rows carry the name of the release that wrote them."""
    make_effect(name="shop.fraud_check", aliases=["shop.fraud"])
    make_effect(name="shop.ribbon", aliases=["shop.bow"])
    Event("shop.boxed", subject="shop.Order", aliases=["shop.packed"])
    monkeypatch.setattr(OrderStatus, "kinds", ["shop.boxed"])
    monkeypatch.setattr(OrderStatus, "hidden", ["shop.fraud_check"])
    monkeypatch.setattr(OrderStatus, "cancellable", ["shop.ribbon"])
    monkeypatch.setattr(OrderStatus, "labels", {"shop.ribbon": "wrapping"})
    old = event_about(order_of("ada"), "shop.packed")
    delivery_of(old, State.POISONED, effect="shop.fraud", reason=Reason.REFUSED)
    delivery_of(old, effect="shop.bow")

    [document] = ada.get("/api/effects/", {"kind": "shop.boxed"}).json()["results"]

    assert [step["effect"] for step in document["deliveries"]] == ["wrapping"]
    assert document["status"] == "pending"
    assert ada.get("/api/effects/", {"status": "pending"}).json()["results"] == [document]
    assert ada.post(document["links"]["cancel"]).json()["status"] == "cancelled"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("tests.rest_framework.conftest.CardRefused", "Your card was refused."),
        ("requests.exceptions.HTTPError", "Nothing more will be tried by itself."),
    ],
)
def test_only_messages_written_for_customers_are_told(ada, event, kind, told):
    """Those of partners and libraries hold addresses, keys and worse."""
    pill = delivery_of(event, State.POISONED, reason=Reason.REFUSED)
    for number, message in enumerate(["secret-canary", "Your card was refused."]):
        Attempt.objects.create(
            delivery=pill,
            number=number,
            outcome=Attempt.Outcome.FAILED,
            exception_type=kind,
            message=message,
            traceback="secret-canary",
        )

    answer = ada.get(address(event))

    assert answer.json()["error"]["detail"] == told
    assert answer.json()["error"]["code"] == "failed"
    assert "secret-canary" not in answer.content.decode()


def test_what_needs_a_person_says_so_and_asks_for_patience(ada, event):
    """It is not over: a person will decide."""
    delivery_of(event, State.UNCERTAIN)

    answer = ada.get(address(event))

    assert answer.json()["error"]["code"] == "needs-review"
    assert answer["Retry-After"] == "60"


def test_who_asks_again_is_told_when_it_is_worth_it(ada, event):
    """The next attempt is half a minute ahead."""
    due = timedelta(seconds=30)
    delivery_of(event, attempts=1, due_at=DbNow() + due, look_at=DbNow() + due)

    assert 25 <= int(ada.get(address(event))["Retry-After"]) <= 30


@pytest.mark.parametrize(
    ("overdue", "least", "most"),
    [
        (timedelta(seconds=30), 30, 40),
        (timedelta(hours=3), 60, 60),
    ],
)
def test_what_is_overdue_is_asked_after_less_and_less(ada, event, overdue, least, most):
    """It stands in a line, and so would everybody who asks every two seconds."""
    delivery_of(event, due_at=DbNow() - overdue)

    assert least <= int(ada.get(address(event))["Retry-After"]) <= most


def test_a_document_that_did_not_change_is_not_sent_again(ada, event):
    """Who polls costs little; each change is seen."""
    row = delivery_of(event)
    first = ada.get(address(event))

    same = ada.get(address(event), headers={"If-None-Match": first["ETag"]})
    Delivery.objects.filter(pk=row.pk).update(attempts=1)
    changed = ada.get(address(event), headers={"If-None-Match": first["ETag"]})

    assert (same.status_code, same.content, same["ETag"]) == (304, b"", first["ETag"])
    assert same["Retry-After"] == first["Retry-After"]
    assert changed.status_code == 200
    assert first["Cache-Control"] == "private, no-cache"


def test_a_get_changes_nothing(ada, event):
    """It may be repeated by whatever stands in between."""
    delivery_of(event)

    with CaptureQueriesContext(connection) as queries:
        ada.get(address(event))
        ada.get("/api/effects/")

    assert [q["sql"] for q in queries if not q["sql"].startswith("SELECT")] == []


# Whose it is


def test_another_users_event_looks_as_if_there_were_none(bob, ada, event):
    """Neither body nor headers tell one from the other: ids cannot be tried out."""
    delivery_of(event)
    unknown = f"/api/effects/{uuid4()}/"

    refused = [
        bob.get(address(event)),
        bob.get(unknown),
        bob.get("/api/effects/no-uuid/"),
        bob.post(f"{address(event)}cancel/"),
        bob.post(f"{unknown}cancel/"),
        ada.get(f"/api/crates/{event.pk}/"),
        ada.get(f"/api/nights/{event.pk}/"),
    ]

    assert {(a.status_code, a.content, a["Content-Type"]) for a in refused} == {
        (404, refused[0].content, "application/problem+json")
    }
    assert refused[0].json()["code"] == "not-found"
    assert bob.get("/api/effects/").json()["results"] == []
    assert Delivery.objects.get().state == State.PENDING


def test_who_cannot_be_asked_for_is_answered_alike_for_every_id(client, event, monkeypatch):
    """Where permissions let strangers in, `customer=request.user` raises: for every id."""
    monkeypatch.setattr(OrderStatus, "permission_classes", [])
    monkeypatch.setattr(OrderStatus, "owned", lambda _, r: Order.objects.filter(pk=r.user))
    client.raise_request_exception = False

    asked = [address(event), f"/api/effects/{uuid4()}/", "/api/effects/no-uuid/"]

    assert {client.get(each).status_code for each in asked} == {500}


def test_rows_of_another_model_own_nothing(ada, event, monkeypatch):
    """Their keys are the same numbers."""
    monkeypatch.setattr(OrderStatus, "owned", lambda *_: User.objects.all())

    for each in (address(event), "/api/effects/"):
        with pytest.raises(ImproperlyConfigured, match=r"owned\(\) gives rows of auth.User"):
            ada.get(each)


def test_nobody_is_told_anything_before_login(client, event):
    """There is no public status."""
    assert client.get(address(event)).status_code == 403
    assert client.get("/api/effects/").status_code == 403


def test_who_is_no_owner_any_more_is_told_nothing(ada, event):
    """Rights are asked for each time."""
    Order.objects.update(charge_id="bob")

    assert ada.get(address(event)).status_code == 404


def test_an_event_whose_subject_is_gone_is_nobodys(ada, event):
    """Nothing says any more whose it was."""
    Order.objects.all().delete()

    assert ada.get(address(event)).status_code == 404


def test_events_about_no_row_have_a_hook_of_their_own(ada, bob):
    """Whose they are is in their payload, here."""
    event = event_about(None, "shop.night", payload={"user": "ada"})

    assert ada.get(f"/api/nights/{event.pk}/").status_code == 200
    assert bob.get(f"/api/nights/{event.pk}/").status_code == 404
    assert len(ada.get("/api/nights/").json()["results"]) == 1
    assert bob.get("/api/nights/").json()["results"] == []


@pytest.mark.parametrize(("attributes", "hook"), [({"subject": Order}, "owned"), ({}, "visible")])
def test_a_subclass_that_does_not_say_whose_is_refused(attributes, hook):
    """When the addresses are loaded, and not when the first stranger asks."""
    forgetful = type("Forgetful", (EffectStatusViewSet,), attributes)

    with pytest.raises(ImproperlyConfigured, match=rf"Forgetful does not say.*{hook}\("):
        forgetful.as_view({"get": "list"})


# Lists


def test_a_list_holds_the_newest_first_and_can_be_paged_through(ada):
    """Also where many events have one instant, since one statement wrote them."""
    order = order_of("ada")
    events = [event_about(order) for _ in range(45)]
    OutboxEvent.objects.update(emitted_at=DbNow() - timedelta(minutes=1))
    newest = event_about(order)

    page, seen = ada.get("/api/effects/").json(), []
    while True:
        seen += [document["id"] for document in page["results"]]
        if page["next"] is None:
            break
        page = ada.get(page["next"]).json()

    assert seen[0] == str(newest.pk)
    assert sorted(seen) == sorted(str(e.pk) for e in (*events, newest))


def test_a_list_is_narrowed_by_kind_status_and_subject(ada):
    """Each by itself."""
    first, second = order_of("ada"), order_of("ada")
    seen = event_about(first)
    placed = event_about(second, "shop.order_placed")
    delivery_of(seen)
    delivery_of(placed, State.SUCCEEDED)

    def ids(**query):
        return [d["id"] for d in ada.get("/api/effects/", query).json()["results"]]

    assert ids(kind="shop.order_seen") == [str(seen.pk)]
    assert ids(status="pending") == [str(seen.pk)]
    assert ids(status="succeeded") == [str(placed.pk)]
    assert ids(subject=second.pk) == [str(placed.pk)]
    assert ids(subject=10**9) == []
    assert ids(status="failed") == []


@pytest.mark.parametrize(
    "query",
    [
        {"status": "poisoned"},
        {"kind": "a\x00b"},
        {"cursor": "garbage"},
        *(
            {"cursor": b64encode(cursor.encode()).decode()}
            for cursor in [
                "p=garbage",
                "p=2026-02-31",
                "p=2026-02-31 00:00:00",
                "p=2026-11-29 03:00:00",  # of no zone
                "p=9999-12-31T23:59:59-23:00",
                "p=0001-01-01T00:00:00+23:00",
                "o=9223372036854775807",
                "o=9999999999999999999999",
                "o=10001",
                "o=-1",
            ]
        ),
    ],
)
def test_a_filter_or_cursor_that_leads_nowhere_is_a_bad_request(ada, query):
    """And no server error, whatever somebody makes up."""
    event_about(order_of("ada"))

    assert ada.get("/api/effects/", query).status_code == 400


def test_a_list_costs_the_same_queries_however_long_it_is(ada, django_assert_num_queries):
    """No query for each event, delivery or failure."""
    for _ in range(15):
        event = event_about(order_of("ada"))
        delivery_of(event, State.SUCCEEDED)
        delivery_of(event, State.POISONED, reason=Reason.REFUSED)
    who = 2  # the session and its user
    whose = 1 if connection.vendor == "mysql" else 0  # elsewhere a subquery

    with django_assert_num_queries(who + whose + 3):  # events, deliveries, why they failed
        found = ada.get("/api/effects/").json()

    assert len(found["results"]) == 15


def test_a_document_costs_few_queries(ada, event, django_assert_num_queries):
    """It is asked for again and again."""
    delivery_of(event)

    with django_assert_num_queries(2 + 3):  # and: the event, whose it is, its deliveries
        ada.get(address(event))


def test_subjects_whose_key_is_a_uuid_are_found(ada, bob):
    """SQLite keeps a UUID without dashes, and events name it with."""
    crate, other = Crate.objects.create(owner="ada"), Crate.objects.create(owner="bob")
    event = event_about(crate, "shop.crate_left")
    event_about(other, "shop.crate_left")

    assert [d["id"] for d in ada.get("/api/crates/").json()["results"]] == [str(event.pk)]
    assert ada.get(f"/api/crates/{event.pk}/").json()["subject"] == str(crate.pk)
    assert bob.get(f"/api/crates/{event.pk}/").status_code == 404


def test_who_has_many_subjects_gets_the_same_list(ada, monkeypatch):
    """Where MariaDB is given names, they end at a thousand."""
    monkeypatch.setattr(subjects, "_FEW", 2)
    events = [event_about(order_of("ada")) for _ in range(4)]
    event_about(order_of("bob"))

    found = ada.get("/api/effects/").json()["results"]

    assert {document["id"] for document in found} == {str(event.pk) for event in events}


def test_kinds_narrow_a_viewset(ada, event, monkeypatch):
    """Other events about the same rows are not for customers."""
    monkeypatch.setattr(OrderStatus, "kinds", ("shop.order_placed",))

    assert ada.get(address(event)).status_code == 404
    assert ada.get("/api/effects/").json()["results"] == []


# Cancelling


def test_what_waits_can_be_given_up_and_who_asked_is_written_down(ada, event, caplog):
    """In the log, and in the history that the admin shows."""
    row = delivery_of(event)
    caplog.set_level("INFO", logger="reliable_effects")
    link = ada.get(address(event)).json()["links"]["cancel"]

    answer = ada.post(link)

    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert Delivery.objects.get(pk=row.pk).state == State.CANCELLED
    assert LogEntry.objects.get().object_id == str(row.pk)
    assert LogEntry.objects.get().user.username == "ada"
    assert "by='ada'" in caplog.text
    assert answer.json()["links"]["cancel"] is None


@pytest.mark.parametrize(("effects", "status"), [([], 200), (["shop.charge_card"], 202)])
def test_to_cancel_twice_is_to_cancel(ada, event, effects, status):
    """The first answer may have been lost, whether or not something else goes on."""
    delivery_of(event)
    for effect in effects:
        delivery_of(event, effect=effect)

    answers = [ada.post(f"{address(event)}cancel/") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [status, status]
    assert LogEntry.objects.count() == 1


def test_what_goes_on_is_said(ada, event):
    """Only what waited, and may be given up, is."""
    delivery_of(event)
    running = delivery_of(event, State.RUNNING)
    charge = delivery_of(event, effect="shop.charge_card")

    answer = ada.post(f"{address(event)}cancel/")

    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    assert Delivery.objects.get(pk=running.pk).state == State.RUNNING
    assert Delivery.objects.get(pk=charge.pk).state == State.PENDING


@pytest.mark.parametrize(
    ("state", "effect"),
    [
        (State.RUNNING, "shop.send_receipt"),
        (State.SUCCEEDED, "shop.send_receipt"),
        (State.POISONED, "shop.send_receipt"),  # for a person of ours
        (State.UNCERTAIN, "shop.send_receipt"),  # it may have happened
        (State.PENDING, "shop.charge_card"),  # nobody said that customers may
        (State.CANCELLED, "shop.charge_card"),  # by one of ours
    ],
)
def test_what_can_not_be_given_up_is_a_conflict(ada, event, state, effect):
    """And stays as it is."""
    row = delivery_of(event, state, effect=effect)

    answer = ada.post(f"{address(event)}cancel/")

    assert (answer.status_code, answer.json()["code"]) == (409, "not-cancellable")
    assert answer["Content-Type"] == "application/problem+json"
    assert Delivery.objects.get(pk=row.pk).state == state
    assert not LogEntry.objects.exists()


def test_only_a_post_with_its_token_cancels(event):
    """A link or a picture on another page must not."""
    client = client_of("ada")
    delivery_of(event)

    assert client.get(f"{address(event)}cancel/").status_code == 405
    assert client.delete(address(event)).status_code == 405
    client.handler.enforce_csrf_checks = True
    assert client.post(f"{address(event)}cancel/").status_code == 403
    assert Delivery.objects.get().state == State.PENDING
