"""The weekly report is there when somebody asks, and only the staff may."""

from __future__ import annotations

import csv
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from example_project.shop.models import Order, Product
from example_project.shop.reports import monday_of
from reliable_effects.models import Report, ReportDownload
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
