"""What people see of reports, and the two things that they may do."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from reliable_effects import Poison
from reliable_effects.models import Delivery, ReportDownload
from reliable_effects.testing import run_effects
from tests.admin.conftest import log_in  # noqa: F401  # a fixture

from .conftest import asked, built, usage_rows

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.reports.urls"),
]

LIST = "/admin/reliable_effects/report/"


def page_of(row) -> str:
    return f"{LIST}{row.pk}/change/"


def test_a_reports_page_tells_what_there_is(usage, log_in):  # noqa: F811
    """Versions, size, age, build time, who downloaded."""
    row = built(usage, customer=3)
    ReportDownload.objects.create(report=row, number=1, sha256="", user="ann", how="stream")
    client = log_in("view_report", "view_reportversion", "view_reportdownload")

    page = client.get(page_of(row)).content.decode()

    assert client.get(LIST).status_code == 200
    for told in ("ann", "ready", row.current.sha256[:12], "&quot;customer&quot;: 3", "built"):
        assert told in page
    assert "Rebuild" not in page


def test_it_says_why_the_last_build_failed(make_report, log_in):  # noqa: F811
    """As text, whatever was in the error."""

    def rows():
        raise Poison("<script>alert(1)</script>")
        yield

    row = asked(make_report(rows))
    run_effects(record=True)

    page = log_in("view_report").get(page_of(row)).content.decode()

    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    assert "failed" in page


def test_a_rebuild_has_a_reason_and_an_entry(usage, log_in):  # noqa: F811
    """However fresh it is."""
    row = built(usage, customer=3)
    client = log_in("view_report", "rebuild_report")

    client.post(f"{LIST}{row.pk}/rebuild/", {"why": "wrong prices"})
    run_effects()

    assert "Rebuild" in client.get(page_of(row)).content.decode()
    assert usage.row({"customer": 3}).current_number == 2
    assert "wrong prices" in LogEntry.objects.get().change_message


def test_nothing_is_rebuilt_without_a_reason(usage, log_in):  # noqa: F811
    row = built(usage, customer=3)

    log_in("view_report", "rebuild_report").post(f"{LIST}{row.pk}/rebuild/", {"why": " "})

    assert Delivery.objects.count() == 1
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("permissions", "method", "status"),
    [
        (("view_report",), "post", 403),
        (("rebuild_report",), "post", 403),
        (("view_report", "rebuild_report"), "get", 405),
    ],
)
def test_a_rebuild_needs_its_permission_and_a_post(usage, log_in, permissions, method, status):  # noqa: F811
    row = built(usage, customer=3)

    response = getattr(log_in(*permissions), method)(f"{LIST}{row.pk}/rebuild/", {"why": "x"})

    assert response.status_code == status
    assert Delivery.objects.count() == 1


def test_a_forged_form_rebuilds_nothing(usage, log_in):  # noqa: F811
    """CSRF."""
    row = built(usage, customer=3)
    known = log_in("view_report", "rebuild_report")
    client = Client(enforce_csrf_checks=True)
    client.cookies = known.cookies

    assert client.post(f"{LIST}{row.pk}/rebuild/", {"why": "x"}).status_code == 403


def test_who_sees_the_page_may_not_therefore_read_the_report(make_report, log_in):  # noqa: F811
    """The report's own rule is asked; and a download here is one like any other."""
    may_read = []
    declared = make_report(usage_rows, allowed=lambda user, **_: user.username in may_read)
    row = built(declared, customer=3)
    client = log_in("view_report")

    refused = client.get(f"{LIST}{row.pk}/read/")
    may_read.append("user-0")
    response = client.get(f"{LIST}{row.pk}/read/")

    assert refused.status_code == 404
    assert response.getvalue().startswith(b"customer,day,used")
    assert ReportDownload.objects.get().user == "user-0"


def test_a_report_of_another_release_is_shown(usage, log_in):  # noqa: F811
    """Its rows outlive its code."""
    row = built(usage, customer=3)
    type(row).objects.update(name="shop.gone")
    client = log_in("view_report", "rebuild_report")

    assert client.get(page_of(row)).status_code == 200
    assert client.get(f"{LIST}{row.pk}/read/").status_code == 404
    assert client.post(f"{LIST}{row.pk}/rebuild/", {"why": "x"}).status_code == 302
