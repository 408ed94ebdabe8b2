"""Emit: row and change share one fate, in one statement, on one database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test import TestCase, override_settings
from django.test.utils import CaptureQueriesContext

from reliable_effects import Event
from reliable_effects.effects.event import Event as AnyEvent
from reliable_effects.effects.keys import delivery_key
from reliable_effects.exceptions import BadPayload, BadSubject, OutsideTransaction
from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.states import State
from tests.shop.effects import charge_card, wrap
from tests.shop.events import OrderPlaced, order_placed, order_seen
from tests.shop.models import Order

ON_POSTGRESQL = connection.vendor == "postgresql"


class Boom(Exception):
    """Something else in the view goes wrong."""


@transaction.atomic
def place_and_fail() -> None:
    order_placed.emit(Order.objects.create(), OrderPlaced())
    raise Boom


@pytest.fixture
def order(db):  # noqa: ARG001  # it is made in the database
    return Order.objects.create()


@pytest.fixture
def make_event(make_effect):
    """`make_event(effects=3)`: an event with so many effects of its own, forgotten afterwards."""

    def make(*, effects: int = 1, **options: Any) -> AnyEvent[Any, Any]:
        event: AnyEvent[Any, Any] = Event("test.happened", **{"subject": "shop.Order"} | options)
        for number in range(effects):
            make_effect(name=f"test.effect_{number}", on=event)
        return event

    return make


# Row and change share one fate


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_order_leaves_nothing_to_deliver():
    """P2: nobody is thanked for an order that is not there."""
    with pytest.raises(Boom):
        place_and_fail()

    assert not Order.objects.exists()
    assert not OutboxEvent.objects.exists()
    assert not Delivery.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_savepoint_leaves_nothing_and_the_rest_stands():
    """P2, for the half of a view that was given up."""
    with transaction.atomic():
        kept = Order.objects.create()
        order_placed.emit(kept, OrderPlaced())
        with pytest.raises(Boom):
            place_and_fail()

    assert [event.subject_pk for event in OutboxEvent.objects.all()] == [str(kept.pk)]
    assert Delivery.objects.count() == 3


def test_every_effect_of_the_event_is_owed_once_and_due(order):
    """What is owed is what the emitting release declares."""
    with transaction.atomic():
        emitted = order_placed.emit(order, OrderPlaced(coupon="TEA"))

    event = OutboxEvent.objects.get()
    assert (event.id, event.name, event.version) == (emitted.event_id, "shop.order_placed", 1)
    assert (event.subject_model, event.subject_pk) == ("shop.order", str(order.pk))
    assert (event.payload, event.source) == ({"coupon": "TEA"}, "emit")
    assert sorted(emitted.promised) == [
        "shop.charge_card",
        "shop.count_points",
        "shop.send_receipt",
    ]
    assert emitted.already_promised == ()
    assert Delivery.objects.due().count() == 3
    assert {d.effect: d.queue for d in Delivery.objects.all()}["shop.charge_card"] == "payments"


def test_a_promise_owes_one_effect_alone(order):
    """No event to declare: it takes the place of `delay_on_commit`."""
    with transaction.atomic():
        emitted = wrap.promise(order)

    delivery = Delivery.objects.select_related("event").get()
    assert (delivery.effect, delivery.event.name) == ("shop.wrap", "shop.wrap")
    assert (delivery.event.source, emitted.promised) == ("promise", ("shop.wrap",))


def test_an_event_that_nobody_listens_to_is_written_all_the_same(order):
    """It is a fact, and effects that are added later may be reconciled with it."""
    with transaction.atomic():
        emitted = order_seen.emit(order)

    assert OutboxEvent.objects.get().pk == emitted.event_id
    assert emitted.promised == ()


@pytest.mark.django_db
def test_an_event_may_be_about_no_row(make_event):
    """A night is over; there is no row of it."""
    event = make_event(subject=None)

    with transaction.atomic():
        event.emit(None)

    assert OutboxEvent.objects.get().subject_pk == ""
    assert Delivery.objects.count() == 1


# One statement


@pytest.mark.parametrize("effects", [1, 10, 100])
def test_the_number_of_queries_does_not_depend_on_the_number_of_effects(
    order, make_event, effects, django_assert_max_num_queries
):
    """A view with ten effects costs what a view with one costs."""
    event = make_event(effects=effects)
    # Django 5.2 gives SQLite 999 values a statement: some 60 deliveries. Later ones give it more.
    queries = 1 if ON_POSTGRESQL else 2 + (connection.vendor == "sqlite" and effects == 100)

    with transaction.atomic(), django_assert_max_num_queries(queries):
        event.emit(order)

    assert Delivery.objects.count() == effects


def test_a_debt_costs_no_query_more_on_postgresql(order, django_assert_num_queries):
    """Elsewhere: look for what stands, and read what another transaction may have inserted."""
    with transaction.atomic(), django_assert_num_queries(1 if ON_POSTGRESQL else 4):
        order_placed.emit(order, OrderPlaced())


@pytest.mark.django_db
def test_many_subjects_are_one_statement_too(make_event, django_assert_num_queries):
    """An import of 15 orders promises their effects at once."""
    event = make_event(effects=3)
    orders = Order.objects.bulk_create([Order() for _ in range(15)])

    with transaction.atomic(), django_assert_num_queries(1 if ON_POSTGRESQL else 2):
        results = event.emit_many([(each, {"n": n}) for n, each in enumerate(orders)])

    events = {event.pk: event for event in OutboxEvent.objects.all()}
    assert [events[r.event_id].subject_pk for r in results] == [str(o.pk) for o in orders]
    assert [events[r.event_id].payload["n"] for r in results] == list(range(15))
    assert Delivery.objects.count() == 45
    assert all(len(r.promised) == 3 for r in results)


@pytest.mark.skipif(not ON_POSTGRESQL, reason="one statement for all is PostgreSQL's")
def test_nothing_is_looked_for_where_nothing_can_stand(order, make_event):
    """What a new event owes has keys that nobody had before; looking for them is a third of the cost."""
    event = make_event(effects=2)

    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        event.emit(order)

    (statement,) = [query["sql"] for query in queries if "INSERT" in query["sql"]]
    assert "ON CONFLICT" not in statement
    assert "SELECT FROM" not in statement


@pytest.mark.django_db
def test_nothing_to_say_is_nothing_written(django_assert_num_queries):
    """An empty import is no special case to its caller."""
    with django_assert_num_queries(0):
        assert order_placed.emit_many([]) == []


def test_deliveries_of_one_call_are_written_in_key_order(make_event, order):
    """Two transactions that promise the same debts then wait for each other, never in a circle."""
    event = make_event(effects=20)

    with transaction.atomic():
        event.emit_many([(order, None), (Order.objects.create(), None)])

    keys = list(Delivery.objects.order_by("pk").values_list("key", flat=True))
    assert keys == sorted(keys)


def test_the_key_is_derived_from_event_and_effect(order, make_event):
    """It can be computed again from what was logged."""
    event = make_event()

    with transaction.atomic():
        emitted = event.emit(order)

    assert Delivery.objects.get().key == delivery_key(emitted.event_id, "test.effect_0")


# The open transaction


@pytest.mark.django_db(transaction=True)
def test_emitting_outside_a_transaction_is_refused():
    """Row and change could part ways; the message says what to write."""
    order = Order.objects.create()

    with pytest.raises(OutsideTransaction, match=r"'shop.order_placed'.*transaction.atomic\(\)"):
        order_placed.emit(order, OrderPlaced())
    with pytest.raises(OutsideTransaction, match=r"emit\('shop.wrap'\)"):
        wrap.promise(order)

    assert not OutboxEvent.objects.exists()


class InATestCase(TestCase):
    """Django opens a transaction around each test; a forgotten atomic() must fail here too."""

    def test_the_test_cases_own_transaction_does_not_count(self):
        order = Order.objects.create()

        with pytest.raises(OutsideTransaction):
            order_placed.emit(order, OrderPlaced())

    def test_an_atomic_block_of_the_code_under_test_counts(self):
        with transaction.atomic():
            order_placed.emit(Order.objects.create(), OrderPlaced())

        assert Delivery.objects.count() == 3


@pytest.mark.django_db
def test_the_atomic_block_around_a_request_counts(client, settings):
    """ATOMIC_REQUESTS wraps the view the same way."""
    settings.ROOT_URLCONF = "tests.outbox.test_emit"

    response = client.get("/place/")

    assert response.status_code == 200
    assert Delivery.objects.count() == 3


@transaction.atomic  # as Django's handler wraps a view under ATOMIC_REQUESTS
def place(_request):
    from django.http import HttpResponse  # noqa: PLC0415  # this test module is a urlconf too

    order_placed.emit(Order.objects.create(), OrderPlaced())
    return HttpResponse()


def _urls():
    from django.urls import path  # noqa: PLC0415  # as above

    return [path("place/", place)]


urlpatterns = _urls()


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_transaction_on_another_database_does_not_count():
    """Its commit and ours could part ways."""
    order = Order.objects.create()

    with (
        transaction.atomic(using="other"),
        pytest.raises(OutsideTransaction, match="database 'default'"),
    ):
        order_placed.emit(order, OrderPlaced())
    with (
        transaction.atomic(),
        pytest.raises(OutsideTransaction, match=r"atomic\(using='other'\)"),
    ):
        order_placed.emit(order, OrderPlaced(), using="other")


@pytest.mark.django_db(databases=["default", "other"])
def test_rows_lie_on_the_subjects_database():
    """The subject's `_state.db`, by way of the router."""
    with transaction.atomic(using="other"):
        order_placed.emit(Order.objects.using("other").create(), OrderPlaced())

    assert OutboxEvent.objects.using("other").count() == 1
    assert Delivery.objects.using("other").count() == 3
    assert not OutboxEvent.objects.exists()


@pytest.mark.django_db(databases=["default", "other"])
def test_using_names_the_database():
    with transaction.atomic(using="other"):
        wrap.promise(Order.objects.using("other").create(), using="other")

    assert Delivery.objects.using("other").count() == 1


class OrdersLieElsewhere:
    """A router: orders are written to `other`, wherever they were read."""

    def db_for_write(self, model, **_hints):
        return "other" if model is Order else None


@pytest.mark.django_db(databases=["default", "other"])
@override_settings(DATABASE_ROUTERS=["tests.outbox.test_emit.OrdersLieElsewhere"])
def test_the_router_is_asked_where_the_subject_is_written():
    """It may have been read from a replica."""
    order = Order(pk=7)
    order._state.db = "default"

    with transaction.atomic(using="other"):
        wrap.promise(order)

    assert OutboxEvent.objects.using("other").get().subject_pk == "7"


@pytest.mark.django_db(databases=["default", "other"])
def test_subjects_on_several_databases_are_refused():
    """One statement is of one transaction, and that of one database."""
    here, there = Order.objects.create(), Order.objects.using("other").create()

    with (
        transaction.atomic(),
        transaction.atomic(using="other"),
        pytest.raises(BadSubject, match=r"default, other.*emit for each by itself"),
    ):
        order_placed.emit_many([(here, OrderPlaced()), (there, OrderPlaced())])

    assert not OutboxEvent.objects.exists()


# What is refused writes nothing


@pytest.mark.parametrize(
    ("subject", "problem"),
    [
        (Order(), "has no primary key.*Save it first"),
        (None, "is a NoneType; shop.Order was declared"),
        (7, "is a int; shop.Order was declared"),
        (OutboxEvent(pk=UUID(int=1)), "is a OutboxEvent; shop.Order was declared"),
    ],
)
@pytest.mark.django_db
def test_a_wrong_subject_is_refused(subject, problem):
    """A worker could not find it."""
    with transaction.atomic(), pytest.raises(BadSubject, match=problem):
        order_placed.emit(subject, OrderPlaced())

    assert not OutboxEvent.objects.exists()


@pytest.mark.fault("a payload is not what was declared", rows="W9")
def test_one_bad_payload_of_many_writes_none(order):
    """What was half written could only be explained by its traceback."""
    with transaction.atomic(), pytest.raises(BadPayload, match="coupon"):
        order_placed.emit_many([(order, OrderPlaced()), (order, OrderPlaced(coupon=5))])  # type: ignore[arg-type]

    assert not OutboxEvent.objects.exists()


@pytest.mark.django_db
def test_a_subjects_key_is_spelled_in_one_way():
    """ "7" and 7 are one row; the key of a debt is derived from it."""
    with transaction.atomic():
        first = charge_card.promise(Order(pk="7"))
        second = charge_card.promise(Order(pk=7))

    assert (first.promised, second.promised) == (("shop.charge_card",), ("shop.charge_card",))
    assert Delivery.objects.count() == 1


# Naming an emission


def test_once_names_the_emission(order):
    """A webhook that comes twice is one event; effects that were owed are owed once."""
    with transaction.atomic():
        first = order_seen.emit(order, once="hook-17")
        again = order_seen.emit(order, {"more": 1}, once="hook-17")
        other = order_seen.emit(order, once="hook-18")

    assert first.event_id == again.event_id != other.event_id
    assert OutboxEvent.objects.get(pk=first.event_id).payload == {}


def test_a_named_emission_again_owes_what_was_added_since(order, make_event, make_effect):
    """A new effect is owed by a repeated emission; the old ones stand."""
    event = make_event()
    with transaction.atomic():
        event.emit(order, once="x")
    make_effect(name="test.added", on=event)

    with transaction.atomic():
        again = event.emit(order, once="x")

    assert (again.promised, again.already_promised) == (("test.added",), ("test.effect_0",))
    assert Delivery.objects.count() == 2


@pytest.mark.usefixtures("make_event")  # which forgets what is declared here
def test_a_renamed_event_names_its_emissions_as_before(order):
    """A webhook that comes again after the deploy that renamed it is still the same event."""
    renamed: AnyEvent[Any, Any] = Event(
        "test.occurred", subject="shop.Order", aliases=["test.old_name"]
    )
    before: AnyEvent[Any, Any] = Event("test.old", subject="shop.Order")
    before.name = before.identity = "test.old_name"  # as the release before declared it

    with transaction.atomic():
        assert before.emit(order, once="x").event_id == renamed.emit(order, once="x").event_id


# What is stored


@dataclass
class Rich:
    at: datetime
    total: Decimal
    text: str
    number: float
    big: int


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", [-0.0, 1e16, 1e23, 1.7976931348623157e308, 5e-324, 0.1])
def test_a_payload_is_read_as_it_was_written(make_effect, number):
    """Through the database and back: jsonb keeps numbers as decimals, SQLite keeps text."""
    rich = Rich(
        datetime(2026, 2, 28, 23, 59, 59, 1, tzinfo=UTC),
        Decimal("1.10"),
        "\u2028\ufeff\U0001f600 'quoted' %s \\u0000",
        number,
        2**200,
    )
    got = []
    typed: AnyEvent[Any, Any] = Event("test.rich", subject="shop.Order", payload=Rich)
    plain: AnyEvent[Any, Any] = Event("test.plain", subject="shop.Order")
    make_effect(lambda _, ctx: got.append(ctx.payload), on=typed)
    make_effect(lambda _, ctx: got.append(ctx.payload), on=plain)
    bare = {"number": number, "big": 2**200, "text": rich.text, "": [None, True]}

    with transaction.atomic():
        order = Order.objects.create()
        typed.emit(order, rich)
        plain.emit(order, bare)
    for pk in Delivery.objects.order_by("event__name").values_list("pk", flat=True):
        deliver("default", [pk])

    assert got == [bare, rich]


def test_events_of_one_transaction_share_a_correlation(order):
    """Support looks for what else happened then."""
    with transaction.atomic():
        order_seen.emit(order)
        wrap.promise(order)

    assert OutboxEvent.objects.values("correlation").distinct().count() == 1


def trace() -> str:
    return "00-4bf9\x00\x1b[2J-" + "x" * 1000


def no_trace() -> str:
    raise LookupError


@pytest.mark.parametrize(
    ("path", "begins"), [("trace", "00-4bf9␀␛[2J-xxx"), ("no_trace", ""), ("not_there", "")]
)
def test_a_hostile_trace_id_costs_nobody_an_order(order, settings, path, begins):
    """It comes from a request's header, and an order is worth more than its trace."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "TRACE_ID": f"tests.outbox.test_emit.{path}"}

    with transaction.atomic():
        order_seen.emit(order)

    stored = OutboxEvent.objects.get().trace_id
    assert stored.startswith(begins)
    assert len(stored) <= 200


def test_a_new_delivery_has_done_nothing_yet(order):
    with transaction.atomic():
        wrap.promise(order)

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempts, delivery.generation) == (State.PENDING, 0, 0)
    assert (delivery.claim_token, delivery.notes, delivery.finished_at) == (None, None, None)
    assert (delivery.hints, delivery.flags) == (0, 0)
