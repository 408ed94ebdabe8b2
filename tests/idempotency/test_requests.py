"""Every way in: forms, files, viewsets, classes, ASGI, and what is refused where it is written."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import pytest
from asgiref.sync import sync_to_async
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.test.client import encode_multipart
from rest_framework.decorators import api_view, authentication_classes
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from reliable_effects.idempotency import IdempotentView, idempotent
from reliable_effects.rest_framework import IdempotentMixin
from tests.idempotency.conftest import code, is_replay
from tests.idempotency.views import Around

pytestmark = pytest.mark.django_db

UPLOADS = pytest.mark.parametrize("url", ["/place/", "/rest/"])


def uploaded(content: bytes, name: str = "a.pdf", **fields) -> dict:
    return {**fields, "file": SimpleUploadedFile(name, content, "application/pdf")}


def sent(boundary: str, data: dict) -> dict:
    body = encode_multipart(boundary, data)
    return {"data": body, "content_type": f"multipart/form-data; boundary={boundary}"}


@UPLOADS
def test_a_file_sent_again_is_the_same_under_another_boundary(post, plan, url):
    """Each attempt of a client has its own."""
    first = post(url, **sent("one", uploaded(b"%PDF\x00", a="1")))
    second = post(url, **sent("two", uploaded(b"%PDF\x00", a="1")))

    assert (first.status_code, is_replay(second), plan.runs) == (201, True, 1)


@UPLOADS
@pytest.mark.parametrize(
    "other",
    [uploaded(b"%PDF\x01", a="1"), uploaded(b"%PDF\x00", "b.pdf", a="1"), uploaded(b"%PDF\x00", a="2")],
    ids=["content", "name", "field"],
)  # fmt: skip
def test_another_file_is_another_request(post, url, other):
    """By its content, not by its size."""
    post(url, **sent("one", uploaded(b"%PDF\x00", a="1")))

    assert post(url, **sent("one", other)).status_code == 422


def test_another_file_is_another_request_to_a_parser_of_nested_forms(post):
    """It gives dicts and lists, and the file is anywhere in them."""
    post("/rest_nested/", **sent("one", uploaded(b"%PDF\x00", a="1")))

    assert is_replay(post("/rest_nested/", **sent("two", uploaded(b"%PDF\x00", a="1"))))
    assert post("/rest_nested/", **sent("two", uploaded(b"%PDF\x01", a="1"))).status_code == 422


@UPLOADS
def test_the_order_of_values_under_one_name_counts(post, url):
    """A view reads the last of them."""
    post(url, **sent("one", {"amount": ["1", "1000"], "a": "1"}))

    assert post(url, **sent("one", {"amount": ["1000", "1"], "a": "1"})).status_code == 422


def test_other_kinds_of_multipart_are_bytes(post):
    """Nobody parses them, so as a form each would be empty, and all of them one."""
    kind = {"content_type": "multipart/mixed; boundary=b"}
    post("/place/", "--b\r\n\r\npay 1\r\n--b--", **kind)

    assert post("/place/", "--b\r\n\r\npay 2\r\n--b--", **kind).status_code == 422


def test_a_form_that_django_would_not_read_is_too_large(user, settings):
    """Of other methods than POST it has to be in memory."""
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    client = Client()
    client.force_login(user)
    upload = sent("one", uploaded(b"x" * 100))

    answer = client.put("/place/", **upload, headers={"Idempotency-Key": "k"})

    assert (answer.status_code, code(answer)) == (413, "payload-too-large")


def test_the_view_reads_the_file_from_its_beginning(post, plan):
    """It was read before, to be told apart."""
    plan.then = lambda request, _: HttpResponse(request.FILES["file"].read(), status=201)

    assert post(**sent("one", uploaded(b"%PDF\x00"))).content == b"%PDF\x00"


@UPLOADS
def test_forms_are_told_apart_too(post, url):
    """A form is no file; its bytes say it all."""
    form = {"content_type": "application/x-www-form-urlencoded"}
    post(url, "a=1", **form)

    assert is_replay(post(url, "a=1", **form))
    assert post(url, "a=2", **form).status_code == 422


@UPLOADS
def test_a_body_that_is_too_large_is_refused_unread(post, plan, settings, url):
    """What cannot be told apart is not run."""
    settings.RELIABLE_EFFECTS = {"IDEMPOTENCY_REQUEST_LIMIT": 100}
    by_us = post(url, '{"a": "%s"}' % ("x" * 100))
    settings.RELIABLE_EFFECTS = {}
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    by_django = post(url, '{"a": "%s"}' % ("x" * 100))

    for answer in (by_us, by_django):
        assert (answer.status_code, code(answer)) == (413, "payload-too-large")
    assert plan.runs == 0


def test_actions_of_a_viewset_are_operations_of_their_own(post, plan):
    """Each has its route, and its pk is part of the request."""
    one = post("/viewset/1/pay/")
    again = post("/viewset/1/pay/")
    other = post("/viewset/2/pay/")
    create = post("/orders/")

    assert one.json() == {"paid": 1, "run": 1}
    assert (is_replay(again), other.status_code) == (True, 422)
    assert (create.status_code, plan.runs) == (201, 2)


def test_a_viewset_may_insist_on_a_key(post, plan):
    """For one of its actions, and in its own time: after permissions."""
    assert post("/viewset/1/pay/", key=None).status_code == 200
    plan.runs = 0
    assert code(post("/orders/", key=None)) == "missing-key"
    assert code(post("/orders/", key='""')) == "invalid-key"
    assert plan.runs == 0


@pytest.mark.parametrize("url", ["/rest/", "/permitted/", "/orders/"])
def test_a_method_that_is_not_allowed_needs_no_key(user, url):
    """Nothing could be done under it."""
    client = Client()
    client.force_login(user)

    answer = client.put(url, "{}", "application/json", headers={"Idempotency-Key": "k"})

    assert answer.status_code == HTTPStatus.METHOD_NOT_ALLOWED


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("url", ["/place/", "/rest/", "/permitted/", "/decorated/"])
def test_under_asgi_it_is_the_same(user, plan, url):
    """Django runs a def in a thread; its transaction is that thread's."""
    client = AsyncClient()
    client.force_login(user)

    async def twice():
        options = {"content_type": "application/json", "headers": {"Idempotency-Key": "k"}}
        try:
            return [await client.post(url, '{"a": 1}', **options) for _ in range(2)]
        finally:
            await sync_to_async(connections.close_all)()  # in the thread of the views

    first, second = asyncio.run(twice())

    assert (first.status_code, is_replay(second), plan.runs) == (201, True, 1)
    assert second.content == first.content


def test_async_views_are_refused_where_they_are_written():
    """With the way out; the first request would be too late."""

    async def view(_request):
        return HttpResponse()

    class OfDjango(IdempotentView):
        async def post(self, _request):
            return HttpResponse()

    class OfRestFramework(IdempotentMixin, APIView):
        async def post(self, _request):
            return HttpResponse()

    class OfViewsets(IdempotentMixin, ViewSet):
        async def create(self, _request):
            return HttpResponse()

    for write in (
        lambda: idempotent(view),
        lambda: OfViewsets.as_view({"post": "create"}),
        lambda: idempotent(required=True)(view),
        OfDjango.as_view,
        OfRestFramework.as_view,
    ):
        with pytest.raises(TypeError, match=r"is an async def.*Write it as a def"):
            write()


def test_functions_of_rest_framework_are_refused_with_the_way_out():
    """What it makes of an exception, and of data, happens outside of the decorator."""

    @api_view(["POST"])
    def outer(_request):
        return HttpResponse()

    @api_view(["POST"])
    @authentication_classes([])
    @idempotent
    def inner(_request):
        return HttpResponse()

    request = RequestFactory().post("/", headers={"Idempotency-Key": "k"})

    with pytest.raises(TypeError, match="IdempotentMixin"):
        Around.as_view()(request)
    with pytest.raises(TypeError, match="IdempotentMixin"):
        idempotent(outer)
    with pytest.raises(TypeError, match="IdempotentMixin"):
        inner(request)
