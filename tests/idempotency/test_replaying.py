"""The same request again gets the same answer, and nothing is done for it."""

from __future__ import annotations

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token

from reliable_effects.models import IdempotencyRecord
from tests.idempotency.conftest import code, is_replay, record, written
from tests.shop.models import Order

pytestmark = pytest.mark.django_db

EVERYWHERE = pytest.mark.parametrize("url", ["/place/", "/rest/", "/permitted/", "/decorated/"])


@EVERYWHERE
@pytest.mark.django_db(transaction=True)
def test_the_second_request_gets_the_first_ones_answer(post, url):
    """What a view writes, what it announces and what it answered are there once."""
    first = post(url)
    second = post(url)

    assert (first.status_code, is_replay(first)) == (201, False)
    assert (second.status_code, is_replay(second)) == (201, True)
    assert second["Idempotency-Replayed"] == "true"
    assert second.content == first.content
    assert second["Content-Type"] == first["Content-Type"]
    assert written() == (1, 1)


def test_an_answer_comes_back_with_its_headers_and_for_nobody_between(post):
    """Where the new row is belongs to the answer; a cache must not keep it."""
    first = post()
    second = post()

    assert second["Location"] == first["Location"]
    assert "no-store" in second["Cache-Control"]


@EVERYWHERE
def test_two_keys_are_two_requests(post, url, plan):
    """However alike they are."""
    post(url, key="one")
    post(url, key="two")

    assert plan.runs == 2


@EVERYWHERE
def test_without_a_key_nothing_is_kept_and_a_view_has_its_transaction(post, url):
    """The view's code finds the same with a key and without."""
    answers = [post(url, key=None), post(url, key=None)]

    assert [a.status_code for a in answers] == [201, 201]
    assert not any(is_replay(a) for a in answers)
    assert written() == (2, 2)
    assert not IdempotencyRecord.objects.exists()


def test_a_view_may_insist_on_a_key(post, plan):
    """The problem document says what to send."""
    answer = post("/required/", key=None)

    assert (answer.status_code, code(answer), plan.runs) == (400, "missing-key", 0)
    assert answer["Cache-Control"] == "no-store"
    assert answer.json().keys() == {"type", "title", "status", "detail", "code"}


def test_problems_lead_to_the_projects_own_page(post, settings):
    """The draft wants the rules published; their address is the project's."""
    settings.RELIABLE_EFFECTS = {"IDEMPOTENCY_DOCS": "https://docs.example/keys"}

    answer = post("/required/", key=None)

    assert answer["Link"] == '<https://docs.example/keys>; rel="describedby"'
    assert answer.json()["type"] == "https://docs.example/keys#missing-key"


def test_what_only_reads_is_not_looked_at(post, user, client):
    """A GET with a key shows what is now."""
    client.force_login(user)
    first = client.get("/rest/", headers={"Idempotency-Key": "k"})
    post()
    second = client.get("/rest/", headers={"Idempotency-Key": "k"})

    assert (first.json(), second.json()) == ({"runs": 0}, {"runs": 1})


def test_bytes_come_back_as_they_were(post, plan):
    """A document is no text."""
    pdf = b"%PDF-1.7\x00\xff\xfe\r\n"
    plan.then = lambda *_: HttpResponse(pdf, content_type="application/pdf")

    post()
    second = post()

    assert (second.content, second["Content-Type"]) == (pdf, "application/pdf")


@pytest.mark.fault("an answer is too large, or a stream", rows="I4")
@pytest.mark.parametrize(
    "answer",
    [
        lambda: HttpResponse(b"x" * 2048, status=201, content_type="text/x"),
        lambda: StreamingHttpResponse(iter([b"x"]), status=201, content_type="text/x"),
    ],
    ids=["too large", "stream"],
)
def test_a_body_that_is_not_kept_is_left_out_and_said(post, plan, settings, answer):
    """The view does not run again for it."""
    settings.RELIABLE_EFFECTS = {"IDEMPOTENCY_RESPONSE_LIMIT": 1024}
    plan.then = lambda *_: answer()

    first = post()
    second = post()

    assert first["Idempotency-Stored"] == "false"
    assert (second.status_code, second["Content-Type"], second.content) == (201, "text/x", b"")
    assert second["Idempotency-Replay"] == "omitted"
    assert plan.runs == 1


def test_a_view_may_keep_its_body_to_itself(post, plan):
    """Or say what of it may be kept."""
    post("/no_body/")
    post("/redacted/")

    assert post("/no_body/").content == b""
    assert post("/redacted/").content == b"{}"
    assert plan.runs == 2


@pytest.mark.parametrize("status", [200, 400, 404, 409, 422])
def test_answers_to_the_client_are_kept_errors_too(post, plan, status):
    """The client's mistake is still one the second time."""
    plan.then = lambda *_: HttpResponse(f"status:{status}", status=status)

    post()
    second = post()

    assert (second.status_code, is_replay(second), plan.runs) == (status, True, 1)


@pytest.mark.parametrize("status", [401, 403, 408, 413, 425, 429, 500, 502, 503])
def test_answers_of_the_moment_are_not_kept_and_leave_nothing(post, plan, status):
    """What is committed is what is kept: the next request finds nothing, and runs."""
    plan.then = lambda *_: HttpResponse(f"status:{status}", status=status)
    first = post()
    between = written()
    plan.then = lambda *_: HttpResponse("well", status=201)
    second = post()

    assert (first.status_code, first["Idempotency-Stored"]) == (status, "false")
    assert between == (0, 0)
    assert (second.status_code, is_replay(second), written()) == (201, False, (1, 1))


def test_server_errors_are_kept_where_the_view_says_so(post, plan):
    """As Stripe's first API does; what was written for them is taken back all the same."""
    plan.then = lambda *_: HttpResponse("ouch", status=500)

    post("/kept_5xx/")
    second = post("/kept_5xx/")

    assert (second.status_code, second.content, is_replay(second)) == (500, b"ouch", True)
    assert (plan.runs, written()) == (1, (0, 0))


@pytest.mark.fault("another body under one key", rows="I3")
def test_another_body_under_the_key_is_refused_and_spoils_nothing(post, plan):
    """The first answer still stands for the first request."""
    first = post()
    refused = post(data='{"a": 2}')
    third = post()

    assert (refused.status_code, code(refused)) == (422, "fingerprint-mismatch")
    assert (third.content, is_replay(third), plan.runs) == (first.content, True, 1)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("/orders/2/pay/", {}),
        ("/orders/1/pay/", {"query_params": {"q": "2"}}),
        ("/orders/1/pay/", {"content_type": "text/plain"}),
    ],
    ids=["path", "query", "media type"],
)
def test_a_request_is_more_than_its_body(post, url, options):
    """One order's payment is no answer to another's."""
    post("/orders/1/pay/")

    assert post(url, **options).status_code == 422


def test_another_operation_has_keys_of_its_own(post, plan):
    """The same key for another route or method is another request, and runs."""
    post("/place/")
    other = post("/other/")

    assert (other.status_code, is_replay(other), plan.runs) == (201, False, 2)


def test_two_writings_of_one_json_are_one_where_the_view_says_so(post):
    """Else a request is its bytes."""
    one, same, other = '{"a": 1.0, "b": [1, {}]}', '{ "b":[1,{}],"a":1.0 }', '{"a": 1, "b": [1]}'

    post("/as_json/", one)
    post("/place/", one)

    assert is_replay(post("/as_json/", same))
    assert post("/as_json/", other).status_code == 422
    assert post("/place/", same).status_code == 422


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 100_000, "{bad", '{"a": NaN}'])
def test_no_json_is_too_strange_to_be_told_apart(post, text):
    """What cannot be understood is its bytes."""
    first = post("/as_json/", text)

    assert (first.status_code, is_replay(post("/as_json/", text))) == (201, True)


def test_a_record_holds_neither_key_nor_request(post):
    """A copy of the table tells nobody what was asked."""
    post(data='{"card": "4242424242424242"}', key="my-secret-key")

    kept = " ".join(str(value) for value in IdempotencyRecord.objects.values_list()[0])
    assert "my-secret-key" not in kept
    assert "4242" not in kept


@pytest.mark.fault("an answer lets somebody in", rows="I4")
def test_what_lets_somebody_in_is_never_kept(post, plan, settings):
    """A replay may go to another browser than the first answer did."""
    settings.RELIABLE_EFFECTS = {"IDEMPOTENCY_HEADERS": ["X-Shop"]}

    def with_secrets(*_):
        response = HttpResponse("well")
        response.set_cookie("sid", "canary-cookie")
        response["Authorization"] = "canary-auth"
        response["X-Auth-Token"] = "canary-token"
        response["X-Shop"] = "kept"
        response["X-Other"] = "not asked for"
        return response

    plan.then = with_secrets
    post()
    second = post()

    assert (second["X-Shop"], "X-Other" in second) == ("kept", False)
    assert not second.cookies.get("sid")
    assert "canary" not in str(record().headers) + str(second.headers)


def test_a_form_with_its_token_is_not_kept(post, plan):
    """It is the secret of a cookie, and that is not kept either."""
    plan.then = lambda request, _: HttpResponse(get_token(request), status=422)

    post()
    second = post()

    assert (second.status_code, second["Idempotency-Replay"]) == (422, "omitted")
    assert (record().body, plan.runs) == (None, 1)


@pytest.mark.parametrize("url", ["/place/", "/rest/", "/permitted/"])
def test_a_view_finds_its_key(post, plan, url):
    """For log lines, and to say that another system is called."""
    seen = []
    plan.then = lambda request, _: seen.append(request.idempotency) or HttpResponse()

    post(url)
    post(url, key=None)

    assert [handle and handle.record_id for handle in seen] == [record().pk, None]
    assert Order.objects.count() == 2
