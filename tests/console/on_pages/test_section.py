"""The section on a project's own pages: all that is about the object, for who may see it."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.utils import quote
from django.db import connection
from django.test.utils import CaptureQueriesContext

from reliable_effects import Event
from reliable_effects.models import Delivery
from reliable_effects.outbox.about import deliveries_about
from tests.outbox.conftest import pending_delivery, poisoned_delivery
from tests.shop.models import Crate, GiftOrder, Order, Shelf

pytestmark = pytest.mark.django_db

SEE = ("view_order", "view_giftorder", "view_shelf", "view_crate", "view_delivery")


def page_of(row, site="keeper") -> str:
    return f"/{site}/shop/{row._meta.model_name}/{quote(row.pk)}/change/"


def shown(client, row, site="keeper") -> str:
    response = client.get(page_of(row, site))
    assert response.status_code == 200
    return response.content.decode()


def listed(text: str) -> list[int]:
    return [int(pk) for pk in re.findall(r">#(\d+)<", text)]


def about(row, of="shop.wrap", **columns) -> Delivery:
    model = row._meta.concrete_model._meta.label_lower
    event = {"subject_model": model, "subject_pk": str(row.pk)}
    return pending_delivery(of, event=event | columns)


@pytest.mark.parametrize("change", ["view_order", "change_order"])
def test_the_deliveries_of_an_object_are_on_its_page_the_newest_first(log_in, change):
    """Also where the project says fieldsets of its own, and for who may change nothing."""
    order = Order.objects.create()
    first, last = about(order), about(order, "shop.send_receipt")
    about(Order.objects.create())

    text = shown(log_in(change, "view_delivery"), order)

    assert listed(text) == [last.pk, first.pk]
    assert f"/keeper/reliable_effects/delivery/{last.pk}/change/" in text
    assert "0/3" in text
    assert "shop.send_receipt" in text


@pytest.mark.parametrize("permissions", [("change_order",), ("change_order", "view_outboxevent")])
def test_who_may_not_view_deliveries_sees_nothing_of_them(log_in, permissions):
    """Not even that there are any."""
    order = Order.objects.create()
    about(order)

    text = shown(log_in(*permissions), order)

    assert "shop.wrap" not in text
    assert ">Effects<" not in text


def test_an_add_page_shows_none(log_in):
    """Nothing can be about what is not there."""
    client = log_in("add_order", "change_order", "view_order", "view_delivery")

    assert ">Effects<" not in client.get("/keeper/shop/order/add/").content.decode()


def test_the_form_is_saved_as_ever(log_in):
    """The section is no field of it."""
    order = Order.objects.create()
    about(order)
    client = log_in("change_order", "view_delivery")

    assert client.post(page_of(order), {"status": "", "charge_id": "x"}).status_code == 200
    assert client.post(page_of(order), {"status": "paid", "charge_id": "x"}).status_code == 302

    order.refresh_from_db()
    assert (order.status, order.charge_id) == ("paid", "x")


def test_a_proxy_and_its_model_show_the_same(log_in, make_effect):
    """It is one row, whichever of the two an event names."""
    order = Order.objects.create()
    make_effect(on=Event("test.gift_given", subject="shop.GiftOrder"))
    rows = [about(order), about(order, subject_model="shop.giftorder")]
    client = log_in(*SEE)

    for row in (order, GiftOrder.objects.get(pk=order.pk)):
        assert sorted(listed(shown(client, row))) == [row.pk for row in rows]


def test_what_was_emitted_before_a_rename_is_shown_too(log_in, make_effect):
    """Rows outlive the label."""
    order = Order.objects.create()
    event = Event("test.order_kept", subject="shop.Order", subject_aliases=["old.Order"])
    make_effect(on=event)
    row = about(order, subject_model="old.order")

    assert listed(shown(log_in(*SEE), order)) == [row.pk]
    assert list(Delivery.objects.for_subject(order)) == [row]
    found = log_in("view_delivery").get(
        f"/keeper/reliable_effects/delivery/?q=shop.Order:{order.pk}"
    )
    assert f"/delivery/{row.pk}/change/" in found.content.decode()


@pytest.mark.parametrize("code", ["a/b", 'q"<b>&_5F', "é ü", "{{ 7 }}", "a?b#c%20", "x'y"])
def test_a_key_with_odd_characters_is_found_and_is_text(log_in, code):
    """Whatever somebody has typed names one row and no tag."""
    shelf = Shelf.objects.create(pk=code)
    row = about(shelf)
    client = log_in(*SEE)

    text = shown(client, shelf)

    assert listed(text) == [row.pk]
    assert 'q"<b>' not in text


def test_a_uuid_is_found_however_it_is_spelled(log_in):
    """A model's own spelling is what emit has written."""
    crate = Crate.objects.create()
    row = about(crate)

    assert listed(shown(log_in(*SEE), crate)) == [row.pk]


def test_another_key_that_a_collation_takes_for_this_one_is_another():
    """MariaDB compares without case and accents."""
    for code in ("aB3", "Ab3", "ab3 "):
        shelf = Shelf(pk=code)
        about(shelf)

    assert deliveries_about(Shelf(pk="aB3")).count() == 1


def test_fifty_are_shown_and_a_link_to_all(log_in):
    """A subject of thousands is read in the list."""
    order = Order.objects.create()
    rows = [about(order) for _ in range(51)]
    client = log_in(*SEE)

    text = shown(client, order)

    assert len(listed(text)) == 50
    assert rows[0].pk not in listed(text)
    address = f"/keeper/reliable_effects/delivery/?q=shop.Order%3A{order.pk}"
    assert address in text
    assert "51 deliveries" in client.get(address).content.decode()


def test_a_site_without_pages_of_deliveries_shows_them_without_links(log_in):
    """No address leads elsewhere, and none breaks the page."""
    order = Order.objects.create()
    rows = [about(order) for _ in range(51)]

    text = shown(log_in(*SEE), order, "bare")

    assert listed(text)[0] == rows[-1].pk
    assert "reliable_effects/delivery" not in text


def test_two_queries_are_asked_however_many_there_are(log_in):
    """It stands at the end of a page that is opened all day."""
    order = Order.objects.create()
    client = log_in(*SEE)
    for _ in range(3):
        poisoned_delivery(
            "shop.wrap", event={"subject_model": "shop.order", "subject_pk": order.pk}
        )

    with CaptureQueriesContext(connection) as queries:
        shown(client, order)

    ours = [q["sql"] for q in queries if "reliable_effects_" in q["sql"]]
    assert len(ours) == 2
    assert all("LIMIT" in sql for sql in ours)


def test_what_rows_hold_is_text(log_in):
    """An effect's name came from a release that somebody else may have written."""
    order = Order.objects.create()
    about(order, "<script>alert(1)</script>", name="<script>alert(2)</script>")

    text = shown(log_in(*SEE), order)

    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
