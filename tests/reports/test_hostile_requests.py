"""What a request, a project's own function or another's middleware may do to a download."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.test import AsyncClient, Client

from reliable_effects.clock import moved
from reliable_effects.models import ReportDownload
from reliable_effects.outbox.models import Delivery
from reliable_effects.reports import File
from reliable_effects.reports.disposition import safe_name
from reliable_effects.reports.models import Report
from reliable_effects.reports.sweeps import TIDY

from .conftest import built, swept
from .test_serving import Browser, rows_of
from .urls import NAME

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.reports.urls"),
]


@pytest.fixture
def ann():
    browser = Browser()
    browser.force_login(get_user_model().objects.create_user("ann"))
    return browser


@pytest.fixture
def served(make_report):
    return make_report(rows_of, name=NAME)


# Permission


def test_a_permission_that_raises_hands_out_nothing(make_report, ann):
    """And makes no row: what was not allowed has not happened."""

    def allowed(_user, *, customer):
        raise LookupError(customer)

    make_report(rows_of, name=NAME, allowed=allowed)

    with pytest.raises(LookupError):
        ann.get("/usage/3/")
    assert not Report.objects.exists()
    assert not Delivery.objects.exists()
    assert not ReportDownload.objects.exists()


def test_a_permission_that_cannot_say_no_is_refused(make_report):
    """A coroutine and a generator are true, whoever asks."""

    async def asynchronous(_user, **_):
        return False

    def generator(_user, **_):
        yield False

    for allowed in (asynchronous, generator):
        with pytest.raises(TypeError, match="allowed="):
            make_report(rows_of, allowed=allowed)


@pytest.mark.parametrize("answer", [iter([False]), "no", 1, object()])
def test_only_true_is_a_yes(make_report, ann, answer):
    make_report(rows_of, name=NAME, allowed=lambda _user, **_: answer)

    with pytest.raises(TypeError, match="allowed="):
        ann.get("/usage/3/")


@pytest.mark.parametrize("answer", [False, None, 0, ""])
def test_all_else_that_is_false_is_a_no(make_report, ann, answer):
    make_report(rows_of, name=NAME, allowed=lambda _user, **_: answer)

    assert ann.get("/usage/3/").status_code == 404


@pytest.mark.parametrize("name", ["user", "serve"])
def test_a_parameter_that_would_be_taken_for_ours_is_refused(make_report, name):
    """allowed(user, user=…) could never be called."""
    namespace: dict = {}
    exec(f"def rows({name}: int):\n    yield {{}}\n", namespace)

    with pytest.raises(TypeError, match=name):
        make_report(namespace["rows"])


@pytest.mark.parametrize(
    ("extension", "content_type"),
    [
        ("../x", "text/plain"),
        ("x/y", "text/plain"),
        ("", "text/plain"),
        ("x" * 21, "text/plain"),
        ("txt", "text/plain\r\nSet-Cookie: a=b"),
        ("txt", "x" * 101),
    ],
)
def test_a_file_of_no_kind_is_refused_where_it_is_declared(make_report, extension, content_type):
    """And not at each build."""

    def write(file):
        file.write(b"")

    with pytest.raises(ValueError, match="format="):
        make_report(write, format=File(extension, content_type))


# Names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("../../etc/passwd", "etc-passwd.csv"),
        ("..\\..\\boot.ini", "boot.ini.csv"),
        ("a\r\nSet-Cookie: x=y", "a-Set-Cookie- x=y.csv"),
        ("exe.\u202ecod", "exe.cod.csv"),
        ("\ud800", "report.csv"),
        (" . ", "report.csv"),
        (".htaccess", "htaccess.csv"),
        ("C:\\x", "C-x.csv"),
        ("a\u2028b", "a-b.csv"),
    ],
)
def test_a_name_is_a_name_and_no_path(text, name):
    assert safe_name(text, "csv") == name


def test_a_name_fits_on_a_disk():
    """255 bytes, most have; letters beyond ASCII take up to four."""
    for letter in ("x", "ü", "界", "\U0001f600"):
        name = safe_name(letter * 300, "jsonl.gz")
        assert 100 < len(name.encode()) <= 255
        assert set(name.removesuffix(".jsonl.gz")) == {letter}


# Requests


def test_part_of_a_stream_is_not_to_be_had(served, ann):
    """What is checked is the whole; a client that asks for a part gets all, as it may."""
    built(served, customer=3)

    response = ann.get("/usage/3/", headers={"Range": "bytes=2-4"})

    assert (response.status_code, response.body) == (200, b"customer\r\n3\r\n")
    assert response["Accept-Ranges"] == "none"


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ('"other", {etag}', 304),
        ('"other" , W/{etag}', 304),
        ("*", 304),
        ('"other"', 200),
        ("{bare}", 200),
        ("", 200),
    ],
)
def test_a_list_of_what_a_client_has_is_read(served, ann, condition, status):
    etag = f'"{built(served, customer=3).current.sha256}"'

    told = condition.format(etag=etag, bare=etag.strip('"'))
    response = ann.get("/usage/3/", headers={"If-None-Match": told})

    assert response.status_code == status
    assert response["Cache-Control"] == "private, no-cache"


def test_a_condition_that_does_not_hold_gets_nothing(served, ann):
    """Who goes on with a download of another version is told."""
    built(served, customer=3)

    response = ann.get("/usage/3/", headers={"If-Match": '"other"'})

    assert (response.status_code, response.body) == (412, b"")
    assert not ReportDownload.objects.exists()


@pytest.mark.parametrize("method", ["get", "head"])
def test_no_cache_between_keeps_what_is_private(served, ann, method):
    """Whatever the answer: being built, built, refused."""
    first = getattr(ann, method)("/usage/3/")
    built(served, customer=4)
    second = getattr(ann, method)("/usage/4/")

    assert (first.status_code, first["Cache-Control"]) == (202, "no-store")
    assert (second.status_code, second["Cache-Control"]) == (200, "private, no-cache")


def test_an_empty_report_is_a_report(make_report, ann):
    """No rows is an answer: not a 202, and not a 404."""

    def none(customer: int):  # noqa: ARG001  # its signature
        yield from ()

    built(make_report(none, name=NAME), customer=3)

    response = ann.get("/usage/3/")

    assert (response.status_code, response.body, response["Content-Length"]) == (200, b"", "0")
    etag = response["ETag"]
    assert ann.get("/usage/3/", headers={"If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize("packed", [False, True])
def test_what_a_middleware_packs_is_the_same_report(make_report, ann, settings, packed):
    """Its ETag is a weak one then; who sends it has the report."""
    settings.MIDDLEWARE = ["django.middleware.gzip.GZipMiddleware", *settings.MIDDLEWARE]

    def rows(customer: int):
        for number in range(1000):
            yield {"customer": customer, "number": number}

    version = built(make_report(rows, name=NAME, gzip=packed), customer=3).current

    response = ann.get("/usage/3/", headers={"Accept-Encoding": "gzip"})

    kept = gzip.decompress(response.body)
    text = gzip.decompress(kept) if packed else kept
    assert text.count(b"\r\n") == 1001
    assert response["ETag"] == f'W/"{version.sha256}"'
    assert "Content-Length" not in response or int(response["Content-Length"]) == len(response.body)
    again = ann.get(
        "/usage/3/", headers={"Accept-Encoding": "gzip", "If-None-Match": response["ETag"]}
    )
    assert again.status_code == 304


def test_a_download_goes_on_while_its_version_is_deleted(make_report, ann):
    """keep=1, and two builds meanwhile: who reads the first reads it to its end."""

    def rows(customer: int):
        yield from ({"customer": customer, "text": "x" * 1000} for _ in range(2000))

    declared = make_report(rows, name=NAME, keep=1)
    first = built(declared, customer=3).current
    client = Client()
    client.cookies = ann.cookies
    response = client.get("/usage/3/")
    chunks = iter(response)
    begun = next(chunks)
    for _ in range(2):
        row = built(declared, customer=3)
    with moved(timedelta(hours=1, minutes=1)):
        swept(TIDY)
    rest = b"".join(chunks)
    response.close()

    assert not row.versions.filter(pk=first.pk).exists()
    assert len(begun) + len(rest) == first.size


def test_an_asynchronous_server_streams_as_well(make_report, ann):
    """Django reads a plain iterator to its end there, before it sends a byte: all of it in memory."""

    def rows(customer: int):
        yield from ({"customer": customer, "text": "x" * 1000} for _ in range(30_000))

    version = built(make_report(rows, name=NAME), customer=3).current

    async def download() -> tuple[int, int]:
        client = AsyncClient()
        client.cookies = ann.cookies
        response = await client.get("/usage/3/")
        size = 0
        tracemalloc.start()
        async for chunk in response:
            size += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        response.close()
        return size, peak

    size, peak = asyncio.run(download())

    assert size == version.size
    assert size > 30_000_000
    assert peak < 5_000_000
