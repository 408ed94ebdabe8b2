"""A project's row through a statement that is compiled once: the same object as through the ORM."""

from __future__ import annotations

import uuid

import pytest
from django.core.exceptions import ValidationError
from django.db import models
from django.test.utils import isolate_apps

from reliable_effects.outbox.claim import claim, look
from reliable_effects.outbox.models import OutboxEvent
from reliable_effects.outbox.row_reader import reader_of
from reliable_effects.outbox.subjects import MISSING, load_subject, subject_of
from tests.outbox.conftest import an_event, pending_delivery
from tests.shop.models import Crate, GiftOrder, Order, Shelf

pytestmark = pytest.mark.django_db


def made(model):
    match model.__name__:
        case "Shelf":
            return model.objects.create(code=" 3 'b\\")
        case "Crate":
            return model.objects.create(owner="ada")
        case _:
            return model.objects.create(status="paid", charge_id="ch_1")


@pytest.mark.parametrize("model", [Order, Crate, Shelf, GiftOrder])
def test_it_is_the_same_object(model):
    wanted = made(model)
    made_otherwise = model._base_manager.get(pk=wanted.pk)

    found = reader_of(model, "default").read(str(wanted.pk))

    assert type(found) is model
    assert {**vars(found), "_state": None} == {**vars(made_otherwise), "_state": None}
    assert found._state.db == "default"
    assert not found._state.adding


def test_a_row_that_is_gone_is_none():
    assert reader_of(Order, "default").read("5") is None
    assert reader_of(Crate, "default").read(str(uuid.uuid4())) is None


@pytest.mark.parametrize(
    ("model", "spelled", "error"),
    [(Order, "abc", ValueError), (Crate, "abc", ValidationError)],
)
def test_a_key_that_is_none_is_said_to_be(model, spelled, error):
    with pytest.raises(error):
        reader_of(model, "default").read(spelled)


def test_a_number_beyond_all_columns_is_nobodys(make_effect):
    event = an_event(subject_pk="9" * 30)
    delivery = pending_delivery(make_effect(), event=event)
    (claimed,) = claim(look("default", [delivery.pk]))

    assert load_subject(claimed, event) is MISSING


def test_what_a_manager_asks_each_time_is_asked_each_time():
    """A base manager of the project's own may depend on the tenant, or on the day."""
    with isolate_apps("tests.shop"):

        class Named(models.Model):
            objects = models.Manager()
            own = type("Own", (models.Manager,), {})()

            class Meta:
                app_label = "shop"
                base_manager_name = "own"

        class Child(Order):
            class Meta:
                app_label = "shop"

    assert reader_of(Named, "default") is None
    assert reader_of(Child, "default") is None  # its key is a row of its parent


def test_a_model_is_compiled_once(django_assert_num_queries, make_effect):
    assert reader_of(Order, "default") is reader_of(Order, "default")
    order = Order.objects.create()
    about = OutboxEvent(subject_model="shop.order", subject_pk=str(order.pk))
    one = make_effect()

    with django_assert_num_queries(1):
        found = subject_of(one, about, "default")

    assert found == order
