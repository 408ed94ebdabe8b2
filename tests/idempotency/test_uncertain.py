"""Where another system was called and nobody saw the end, no request runs the view again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.http import Http404, HttpResponse
from django.test import RequestFactory

from reliable_effects.clock import moved
from reliable_effects.idempotency import Idempotency, idempotent
from reliable_effects.idempotency.remedies import Outcome, resolve
from reliable_effects.idempotency.states import RecordState
from reliable_effects.idempotency.sweeps import IDEMPOTENCY
from reliable_effects.models import IdempotencyRecord
from reliable_effects.outbox.sweeps import sweep
from tests.idempotency.conftest import code, is_replay, record, written
from tests.idempotency.views import acts, created

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def sends(then):
    def sent(request, order):
        request.idempotency.mark_sent()
        return then(request, order)

    return sent


def fails(*_):
    raise RuntimeError("ouch")


def killed() -> None:
    """As a view leaves its row that never came to an end."""
    IdempotencyRecord.objects.update(state=RecordState.IN_PROGRESS, status=None)


@pytest.mark.django_db(transaction=True)
def test_a_view_that_fails_after_it_called_is_never_run_again(post, plan):
    """What is ours is rolled back; what is theirs nobody knows."""
    plan.then = sends(fails)
    first = post("/foreign/")
    plan.then = created
    second = post("/foreign/")

    assert (first.status_code, second.status_code) == (500, 409)
    assert (code(second), plan.runs, written()) == ("outcome-unknown", 1, (0, 0))
    assert "Retry-After" not in second


@pytest.mark.parametrize("status", [500, 503, 429])
def test_an_answer_that_would_not_be_kept_is_as_uncertain(post, plan, status):
    """A server's error after the call is no better than an exception."""
    plan.then = sends(lambda *_: HttpResponse(status=status))

    assert post("/foreign/").status_code == status
    assert code(post("/foreign/")) == "outcome-unknown"


def missing(*_):
    raise Http404("the template of the receipt")


def taken_back(*_):
    transaction.set_rollback(True)
    return HttpResponse(status=422)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("url", "then"),
    [
        ("/foreign/", missing),
        ("/foreign/", taken_back),
        ("/foreign_5xx/", fails),
        ("/foreign_5xx/", lambda *_: HttpResponse(status=500)),
        ("/rest_foreign/", missing),
        ("/rest_foreign/", created),  # and then REST framework's own error
    ],
)
def test_what_is_rolled_back_after_a_call_is_uncertain_whatever_its_status(post, plan, url, then):
    """A kept 404 would say that nothing was done, and the client would pay again with a new key."""
    plan.then = sends(then)
    first = post(url, '{"wrong": 1}')
    second = post(url, '{"wrong": 1}')

    assert first.status_code >= 400
    assert (code(second), plan.runs, written()) == ("outcome-unknown", 1, (0, 0))
    assert record().state == RecordState.UNCERTAIN


def test_a_view_that_fails_before_it_called_is_run_again(post, plan):
    """It knows that nobody heard of it."""
    plan.then = fails
    post("/foreign/")
    plan.then = created

    assert post("/foreign/").status_code == 201


def test_a_view_that_comes_to_its_end_is_as_any_other(post, plan):
    """Its answer says how the call ended."""
    plan.then = sends(created)

    post("/foreign/")

    assert is_replay(post("/foreign/"))


def test_one_that_was_killed_is_uncertain_once_its_lease_ends(post, plan):
    """A dead process leaves no mark, so it may have called."""
    post("/foreign/")
    killed()

    assert code(post("/foreign/")) == "conflict"
    with moved(HOUR):
        assert code(post("/foreign/")) == "outcome-unknown"
    assert (plan.runs, record().state) == (1, RecordState.UNCERTAIN)


def test_the_sweep_finds_it_too_and_age_never_deletes_it(post):
    """A person is told before any client asks."""
    post("/foreign/")
    killed()
    IdempotencyRecord.objects.update(look_at=record().lease_expires_at)

    with moved(HOUR):
        sweep("default", IDEMPOTENCY, now=True)
    with moved(1000 * HOUR):
        sweep("default", IDEMPOTENCY, now=True)
        assert code(post("/foreign/")) == "outcome-unknown"

    assert [row.state for row in IdempotencyRecord.objects.uncertain()] == [RecordState.UNCERTAIN]


def test_the_first_request_may_still_say_how_it_ended(post, plan):
    """It is late, and it knows."""

    def then(request, order):
        IdempotencyRecord.objects.update(state=RecordState.UNCERTAIN, look_at=None)
        return created(request, order)

    plan.then = then

    assert post("/foreign/").status_code == 201
    assert is_replay(post("/foreign/"))


@pytest.fixture
def uncertain(post, plan) -> IdempotencyRecord:
    plan.then = sends(fails)
    post("/foreign/")
    plan.then = created
    return record()


def test_a_person_may_say_that_it_happened(post, plan, uncertain, user):
    """No request is run for it; its answer was never seen, so none is made up."""
    assert resolve(uncertain, Outcome.HAPPENED, "the charge is in their ledger", user)

    assert code(post("/foreign/")) == "result-expired"
    assert plan.runs == 1
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (user, str(uncertain.pk))
    assert "the charge is in their ledger" in entry.change_message


def test_a_person_may_say_that_it_did_not(post, uncertain):
    """The next request runs."""
    assert resolve(uncertain, "did_not", "they have no charge", "ada")

    assert post("/foreign/").status_code == 201


def test_what_is_settled_is_settled_once(uncertain, user):
    """Two people at two screens: one of them is told that it was so already."""
    assert resolve(uncertain, Outcome.HAPPENED, "one", user)
    assert not resolve(uncertain, Outcome.DID_NOT, "two", user)

    assert record().reason == "one"
    assert LogEntry.objects.count() == 1


def test_a_person_says_why(uncertain):
    """For whoever reads it next year."""
    with pytest.raises(ValueError, match="reason= is empty"):
        resolve(uncertain, Outcome.HAPPENED, " ", "ada")
    with pytest.raises(ValueError, match="perhaps"):
        resolve(uncertain, "perhaps", "why", "ada")


@pytest.mark.parametrize(
    ("known", "then"),
    [
        (True, (409, "result-expired", 1)),
        (False, (201, "", 2)),
        (None, (409, "outcome-unknown", 1)),
        (HttpResponse("charged", status=200), (200, "", 1)),
    ],
    ids=["it happened", "it did not", "nobody can tell", "its answer"],
)
def test_a_view_may_find_out_itself(user, plan, known, then):
    """Asked before the client is refused; what it says is written down."""
    view = idempotent(acts, foreign=True, resolve=lambda _: known)

    def asked():
        request = RequestFactory().post("/", headers={"Idempotency-Key": "k"})
        request.user = user
        return view(request)

    plan.then = sends(fails)
    with pytest.raises(RuntimeError):
        asked()
    plan.then = created
    answer = asked()

    assert (answer.status_code, code(answer), plan.runs) == then
    if then[0] < 300:
        assert is_replay(asked())


def test_what_a_view_finds_out_may_be_data_of_rest_framework(post, plan):
    """It is rendered as if the view had returned it."""
    plan.then = sends(fails)
    post("/rest_settled/")
    answer = post("/rest_settled/")

    assert (answer.status_code, answer.json(), is_replay(answer)) == (201, {"charge": 7}, True)
    assert plan.runs == 1


def test_an_answer_of_the_moment_settles_nothing(user, plan):
    """The partner is away, so nobody can be asked; the key stays uncertain."""
    told = [HttpResponse("later", status=503), HttpResponse("charged", status=201)]
    view = idempotent(acts, foreign=True, resolve=lambda _: told.pop(0))
    request = RequestFactory().post("/", headers={"Idempotency-Key": "k"})
    request.user = user
    plan.then = sends(fails)

    with pytest.raises(RuntimeError):
        view(request)
    away = view(request)
    between = record().state
    settled = view(request)

    assert (away.status_code, away["Idempotency-Stored"]) == (503, "false")
    assert between == RecordState.UNCERTAIN
    assert (settled.status_code, is_replay(settled), plan.runs) == (201, True, 1)


def test_options_that_mean_nothing_are_refused():
    """Where they are written, not when a request comes."""
    for options, said in [
        ({"resolve": lambda _: None}, "foreign=True"),
        ({"scope": lambda _: "x", "anonymous": True}, "anonymous="),
        ({"lease": timedelta(0)}, "lease="),
        ({"fingerprint": "yaml"}, "fingerprint="),
        ({"key_retention": HOUR, "body_retention": 2 * HOUR}, "body_retention="),
    ]:
        with pytest.raises(ValueError, match=said):
            Idempotency(**options)
    with pytest.raises(TypeError):
        idempotent(requierd=True)


def test_only_a_view_that_says_so_may_call_others(post, plan):
    """A mark that a crash would lose protects nobody."""
    plan.then = sends(created)

    assert post("/place/").status_code == 500
