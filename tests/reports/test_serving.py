"""Who may read gets it, fresh or good enough; who may not learns nothing."""

from __future__ import annotations

import json
import logging
import urllib.request
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.core import serializers
from django.test import Client

from reliable_effects import Poison
from reliable_effects.clock import moved
from reliable_effects.exceptions import BlobCorrupted
from reliable_effects.models import Report, ReportDownload, ReportVersion
from reliable_effects.outbox.forget import forget
from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent
from reliable_effects.reports import CSV
from reliable_effects.testing import run_effects

from .conftest import built
from .urls import NAME

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.reports.urls"),
]


def rows_of(customer: int):
    yield {"customer": customer}


@pytest.fixture
def may_read() -> set[tuple[str, int]]:
    """Who may read whose report, by now."""
    return {("ann", 3), ("ann", 4)}


@pytest.fixture
def served(make_report, may_read):
    def allowed(user, *, customer):
        return (user.get_username(), customer) in may_read

    return make_report(
        rows_of,
        name=NAME,
        allowed=allowed,
        fresh_for=timedelta(hours=1),
        stale_for=timedelta(days=1),
        title=lambda customer: f'Usage of "{customer}"',
    )


@pytest.fixture
def in_s3(served, bucket, settings):
    settings.RELIABLE_EFFECTS = {
        **settings.RELIABLE_EFFECTS,
        "REPORT_STORE": {
            "BACKEND": "reliable_effects.reports.s3_store.S3ReportStore",
            "OPTIONS": bucket.options(),
        },
    }
    return served


class Browser(Client):
    """Reads what it is sent, to the end, and lets go of it, as servers do."""

    def request(self, **facts):
        response = super().request(**facts)
        try:
            response.body = response.getvalue()
        finally:
            response.close()
        return response


@pytest.fixture
def ann():
    browser = Browser()
    browser.force_login(get_user_model().objects.create_user("ann"))
    return browser


@pytest.mark.usefixtures("served")
def test_the_first_who_asks_is_told_to_come_back(ann):
    """And the one build that is under way is everybody's."""
    first, second = ann.get("/usage/3/"), ann.get("/usage/3/")

    assert (first.status_code, second.status_code) == (202, 202)
    assert first["Retry-After"] == "5"
    assert first.json()["state"] == "building"
    assert first["Cache-Control"] == "no-store"
    assert Delivery.objects.count() == 1
    run_effects()
    assert ann.get("/usage/3/").status_code == 200


def test_a_report_is_streamed_where_the_store_has_no_addresses(served, ann):
    """As an attachment that no browser runs."""
    built(served, customer=3)

    response = ann.get("/usage/3/")

    assert response.body == b"customer\r\n3\r\n"
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Length"] == "13"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Cache-Control"] == "private, no-cache"
    assert response["Content-Disposition"].startswith('attachment; filename="Usage of -3- 20')
    assert response["Content-Disposition"].endswith('.csv"')


def test_who_may_not_read_learns_not_even_that_it_is_there(served, ann, client):
    """The same answer for another's report, for one that is nobody's, and for a stranger."""
    built(served, customer=5)
    deliveries = Delivery.objects.count()

    assert ann.get("/usage/5/").status_code == 404
    assert ann.get("/usage/6/").status_code == 404
    client.logout()
    assert client.get("/usage/3/").status_code == 404
    assert not ReportDownload.objects.exists()
    assert Delivery.objects.count() == deliveries


def test_a_permission_is_asked_at_every_request(served, ann, may_read):
    """A cached report is not handed to whose access has ended, not even as a 304."""
    built(served, customer=3)
    etag = ann.get("/usage/3/")["ETag"]
    may_read.clear()

    assert ann.get("/usage/3/").status_code == 404
    assert ann.get("/usage/3/", headers={"If-None-Match": etag}).status_code == 404


def test_a_client_that_has_it_is_told_so(served, ann):
    """Nothing is read, and nothing counts as a download."""
    version = built(served, customer=3).current
    etag = ann.get("/usage/3/")["ETag"]
    ReportDownload.objects.all().delete()

    response = ann.get("/usage/3/", headers={"If-None-Match": etag})

    assert etag == f'"{version.sha256}"'
    assert (response.status_code, response.content) == (304, b"")
    assert not ReportDownload.objects.exists()


def test_a_head_tells_and_hands_out_nothing(in_s3, ann):
    """An address signed for GET would be refused to it."""
    built(in_s3, customer=3)

    response = ann.head("/usage/3/")

    assert (response.status_code, response["Content-Length"]) == (200, "13")
    assert not ReportDownload.objects.exists()


def test_what_is_stale_is_served_while_the_next_is_built(served, ann):
    """Nobody waits; and beyond stale_for nobody is given what is too old."""
    built(served, customer=3)
    with moved(timedelta(hours=2)):
        response = ann.get("/usage/3/")
        assert response.status_code == 200
        assert int(response["Age"]) >= 7200
        assert Delivery.objects.count() == 2
        ann.get("/usage/3/")
        assert Delivery.objects.count() == 2
        run_effects()
        assert int(ann.get("/usage/3/")["Age"]) < 3600
    with moved(timedelta(days=2)):
        assert ann.get("/usage/3/").status_code == 202


def test_a_failure_keeps_the_last_good_one(make_report, ann):
    """And is not repeated at each request."""
    broken = []

    def rows(customer: int):
        if broken:
            raise Poison("broken")
        yield {"customer": customer}

    declared = make_report(rows, name=NAME)
    built(declared, customer=3)
    broken.append(True)
    with moved(timedelta(hours=2)):
        for _ in range(3):
            assert ann.get("/usage/3/").status_code == 200
            run_effects(record=True)

    assert Delivery.objects.count() == 2


def test_a_first_build_that_was_given_up_is_told_as_that(make_report, ann):
    """202 would have the client ask for ever."""

    def rows(customer: int):
        raise Poison(f"broken for {customer}")
        yield

    make_report(rows, name=NAME)
    ann.get("/usage/3/")
    run_effects(record=True)

    response = ann.get("/usage/3/")

    assert response.status_code == 503
    assert response.json()["state"] == "failed"
    assert 200 < int(response["Retry-After"]) <= 300
    assert "broken" not in response.content.decode()


def test_downloads_are_written_down(served, ann):
    """Who was given which version, and how; also when the version is gone."""
    version = built(served, customer=3).current

    ann.get("/usage/3/")

    (download,) = ReportDownload.objects.all()
    assert (download.user, download.number, download.how) == ("ann", 1, "stream")
    assert download.sha256 == version.sha256


def test_s3_is_read_at_a_signed_address_that_stays_nowhere(in_s3, ann, caplog):
    """Short, and in no row, no log and no cache."""
    built(in_s3, customer=3)
    with caplog.at_level(logging.INFO):  # boto3 itself tells more at DEBUG
        response = ann.get("/usage/3/")

    assert response.status_code == 302
    assert response["Cache-Control"] == "private, no-store"
    assert response["Referrer-Policy"] == "no-referrer"
    address = response["Location"]
    assert "X-Amz-Expires=120" in address
    with urllib.request.urlopen(address) as answer:  # http, to our own server
        assert answer.read() == b"customer\r\n3\r\n"
        assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    rows = [
        row
        for model in (Report, ReportVersion, ReportDownload, Delivery, OutboxEvent, Attempt)
        for row in model.objects.all()
    ]
    signature = address.partition("X-Amz-Signature=")[2][:64]
    told = serializers.serialize("json", rows) + caplog.text + repr(response)
    assert len(signature) == 64
    assert signature not in told
    assert "X-Amz-Signature" not in told


def test_s3_is_streamed_where_clients_cannot_reach_it(in_s3, ann):
    """A store inside the house."""
    built(in_s3, customer=3)

    response = ann.get("/streamed/3/")

    assert response.body == b"customer\r\n3\r\n"


def test_a_damaged_blob_breaks_off(served, ann, tmp_path):
    """The client sees that it has not got all."""
    version = built(served, customer=3).current
    (tmp_path / version.key).write_bytes(b"customer\r\n4\r\n")

    with pytest.raises(BlobCorrupted):
        ann.get("/usage/3/")


def test_a_blob_that_is_gone_is_built_again(served, ann, tmp_path):
    """A restored database may name what was deleted since."""
    version = built(served, customer=3).current
    (tmp_path / version.key).unlink()

    response = ann.get("/usage/3/")

    assert response.status_code == 202
    run_effects()
    assert ann.get("/usage/3/").body == b"customer\r\n3\r\n"


def test_a_download_is_called_by_nothing_but_its_name(make_report, ann):
    """Whatever a title is made of."""
    make_report(
        rows_of, name=NAME, title=lambda **_: '../\r\nSet-Cookie: a="b"\u202e', format=CSV()
    )
    ann.get("/usage/3/")
    run_effects()

    response = ann.get("/usage/3/")

    disposition = response["Content-Disposition"]
    assert "Set-Cookie" not in response
    assert "\n" not in disposition
    assert "/" not in disposition
    assert "\u202e" not in disposition


def test_a_status_says_how_far_it_is(served, ann):
    """Rows and bytes of the build that is under way."""
    row = served.row({"customer": 3})
    ann.get("/usage/3/")
    row.refresh_from_db()
    ReportVersion.objects.create(
        report=row, number=row.asked, key="k", content_type="", extension="", delivery_id=0,
        rows=10, size=100,
    )  # fmt: skip

    told = json.loads(ann.get("/usage/3/").content)

    assert (told["rows"], told["bytes"]) == (10, 100)


def test_who_asks_to_be_forgotten_is_no_longer_named(served, ann):
    """The download stays; whose it was does not."""
    built(served, customer=3)
    ann.get("/usage/3/")
    user = get_user_model().objects.get(username="ann")

    told = forget(user, by="ops", why="asked for")

    download = ReportDownload.objects.get()
    assert (download.user_pk, download.user) == ("", "[forgotten]")
    assert told.others["report downloads"].blanked == 1
