"""A pointer whose blob is gone, or is damaged: what the customer sees, and who mends it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model

from reliable_effects.clock import moved
from reliable_effects.exceptions import BlobCorrupted
from reliable_effects.outbox.models import Delivery
from reliable_effects.reports.models import Report, ReportVersion, VersionState
from reliable_effects.reports.sweeps import TIDY
from reliable_effects.testing import run_effects

from .conftest import built, swept
from .test_serving import Browser, rows_of
from .urls import NAME

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.reports.urls"),
]

A_LOOK_LATER = timedelta(hours=6, minutes=1)  # REPORT_CHECK


@pytest.fixture
def ann():
    browser = Browser()
    browser.force_login(get_user_model().objects.create_user("ann"))
    return browser


@pytest.fixture
def served(make_report):
    return make_report(rows_of, name=NAME, fresh_for=timedelta(days=1))


def test_where_the_served_blob_is_gone_the_one_before_is_served(served, ann, tmp_path):
    """The last good one, and nobody waits for the next."""
    first = built(served, customer=3).current
    second = built(served, customer=3).current
    (tmp_path / second.key).unlink()

    response = ann.get("/usage/3/")

    assert (response.status_code, response.body) == (200, b"customer\r\n3\r\n")
    row = served.row({"customer": 3})
    assert (row.current, row.current_number) == (first, 1)
    assert ReportVersion.objects.get(pk=second.pk).state == VersionState.DOOMED


@pytest.mark.fault("stored reports are deleted behind our back", rows="S3")
def test_where_all_blobs_are_gone_the_next_is_asked_for(served, ann, tmp_path):
    """And each that is missing was found out by the way."""
    for _ in range(3):
        row = built(served, customer=3)
    for version in row.versions.all():
        (tmp_path / version.key).unlink()

    assert ann.get("/usage/3/").status_code == 202
    run_effects()
    assert ann.get("/usage/3/").status_code == 200
    assert served.row({"customer": 3}).current_number == 4


def test_a_damaged_blob_is_served_to_one_at_most(served, ann, tmp_path):
    """Whose download breaks off; the next gets the one before, or a new one."""
    version = built(served, customer=3).current
    (tmp_path / version.key).write_bytes(b"customer\r\n4\r\n")

    with pytest.raises(BlobCorrupted):
        ann.get("/usage/3/")

    assert ann.get("/usage/3/").status_code == 202
    run_effects()
    assert ann.get("/usage/3/").body == b"customer\r\n3\r\n"


def test_a_blob_that_is_gone_is_found_before_anybody_asks(served, bucket, settings):
    """Who is sent to a signed address would meet the store's error page, each time."""
    options = bucket.options()
    settings.RELIABLE_EFFECTS = {
        **settings.RELIABLE_EFFECTS,
        "REPORT_STORE": {
            "BACKEND": "reliable_effects.reports.s3_store.S3ReportStore",
            "OPTIONS": options,
        },
    }
    row = built(served, customer=3)
    bucket.store().delete(row.current.key)

    with moved(A_LOOK_LATER):
        swept(TIDY)
        run_effects()
        row = served.row({"customer": 3})
        swept(TIDY)

    assert row.current_number == 2
    assert f"tests/{row.current.key}" in bucket.objects()
    assert Delivery.objects.count() == 2


def test_a_blob_that_is_there_is_left_alone_and_looked_at_in_turn(served):
    """Not all of them at each turn."""
    for customer in range(3):
        built(served, customer=customer)

    assert swept(TIDY).seen == 0
    with moved(A_LOOK_LATER):
        assert swept(TIDY).seen == 3
        assert swept(TIDY).seen == 0

    assert Report.objects.filter(current__isnull=False).count() == 3


def test_a_store_that_is_not_there_has_lost_nothing(served, tmp_path):
    """A share that is not mounted: pointers stay, and nothing is deleted."""
    for customer in range(3):
        built(served, customer=customer)
    tmp_path.rename(tmp_path.with_name("elsewhere"))

    with moved(A_LOOK_LATER):
        swept(TIDY)

    assert Report.objects.filter(current__isnull=False).count() == 3
    assert Delivery.objects.count() == 3


def test_a_few_losses_are_mended_in_one_turn_and_not_thousands(served, tmp_path):
    """An empty share under the right name looks like the loss of all; it is seen in the log."""
    for customer in range(5):
        row = built(served, customer=customer)
        (tmp_path / row.current.key).unlink()

    with moved(A_LOOK_LATER):
        assert swept(TIDY).truncated

    assert Report.objects.filter(current__isnull=True).count() == 3
    assert Delivery.objects.count() == 8


def test_an_unknown_reports_blob_is_no_reason_to_fail(served, tmp_path):
    """Rows outlive their code."""
    row = built(served, customer=3)
    (tmp_path / row.current.key).unlink()
    Report.objects.update(name="shop.gone")

    with moved(A_LOOK_LATER):
        swept(TIDY)

    assert Report.objects.get().current is None
