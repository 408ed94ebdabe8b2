"""The weekly report is there when somebody asks, and only the staff may."""

from __future__ import annotations

import csv
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from example_project.shop.models import Order, Product, Usage
from example_project.shop.reports import monday_of
from reliable_effects.models import Delivery, Report, ReportDownload
from reliable_effects.outbox.sweeps import sweep
from reliable_effects.reports.sweeps import PREBUILD
from reliable_effects.testing import run_effects

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


@pytest.fixture(autouse=True)
def _kept_here(tmp_path, settings):
    store = settings.RELIABLE_EFFECTS["REPORT_STORE"] | {"OPTIONS": {"location": str(tmp_path)}}
    settings.RELIABLE_EFFECTS = {**settings.RELIABLE_EFFECTS, "REPORT_STORE": store}


@pytest.fixture
def staff(client):
    client.force_login(User.objects.create_user("boss", is_staff=True))
    return client


def order(email: str, quantity: int, **columns) -> None:
    product = Product.objects.get_or_create(slug="vase", defaults={"name": "Vase", "price": 5})[0]
    total = 5 * quantity
    made = Order.objects.create(product=product, quantity=quantity, total=total, email=email)
    Order.objects.filter(pk=made.pk).update(**columns or {"status": Order.Status.PLACED})


def test_it_is_built_before_anybody_asks(staff):
    order("=cmd@example.com", 2)
    order("=cmd@example.com", 1)
    order("long@example.com", 9, placed_at=timezone.now() - timedelta(days=30))

    sweep("default", PREBUILD, now=True)
    run_effects()
    response = staff.get("/reports/weekly/", follow=True)
    rows = list(csv.DictReader(StringIO(response.getvalue().decode(), newline="")))
    response.close()

    assert [(row["email"], row["pieces"]) for row in rows] == [("'=cmd@example.com", "3")]
    assert Report.objects.count() == 2
    assert ReportDownload.objects.get().user == "boss"


def test_a_customer_learns_nothing(client):
    client.force_login(User.objects.create_user("ada"))
    week = monday_of(timezone.now().date()).isoformat()

    assert client.get(f"/reports/weekly/{week}/").status_code == 404
    assert client.get("/reports/weekly/never/").status_code == 404


def test_a_customer_reads_what_they_used_and_nobody_elses(client):
    """Built before they ask; the address says nothing of whose it is."""
    ada, bob = (User.objects.create_user(name) for name in ("ada", "bob"))
    Usage.objects.create(customer=ada, what="order", units=3)
    Usage.objects.create(customer=bob, what="order", units=4)
    sweep("default", PREBUILD, now=True)
    run_effects()
    deliveries = Delivery.objects.count()
    client.force_login(ada)

    response = client.get("/reports/usage/")
    rows = list(csv.DictReader(StringIO(response.getvalue().decode(), newline="")))
    response.close()

    assert [row["units"] for row in rows] == ["3"]
    assert Delivery.objects.count() == deliveries
    client.logout()
    assert client.get("/reports/usage/").status_code == 404
