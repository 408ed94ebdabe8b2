"""What a view writes, what it announces and its answer commit together, or nothing does."""

from __future__ import annotations

import pytest
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import IntegrityError, OperationalError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import Http404, HttpResponse
from django.test import RequestFactory
from django.views.decorators.csrf import csrf_exempt

from reliable_effects.exceptions import InsideTransaction
from reliable_effects.idempotency import idempotent
from reliable_effects.idempotency.states import RecordState
from reliable_effects.models import IdempotencyRecord
from tests.idempotency.conftest import code, is_replay, record, written
from tests.idempotency.views import acts, created
from tests.shop.models import Order

pytestmark = pytest.mark.django_db

EVERYWHERE = pytest.mark.parametrize("url", ["/place/", "/rest/", "/permitted/", "/decorated/"])


def raising(error):
    def then(*_):
        raise error

    return then


@EVERYWHERE
@pytest.mark.django_db(transaction=True)
def test_an_exception_leaves_nothing_and_the_next_request_runs(post, plan, url):
    """The key is not stuck until it expires."""
    plan.then = raising(RuntimeError("ouch"))
    first = post(url)
    between = written()
    plan.then = created
    second = post(url)

    assert (first.status_code, between) == (500, (0, 0))
    assert (second.status_code, is_replay(second), written()) == (201, False, (1, 1))


def test_a_released_key_takes_another_request(post, plan):
    """Nothing was done under it, so a client may mend what it sends."""
    plan.then = raising(RuntimeError("ouch"))
    post()
    plan.then = created

    assert post(data='{"a": 2}').status_code == 201


@pytest.mark.parametrize(
    ("error", "status"), [(Http404("no such order"), 404), (BadRequest("what?"), 400)]
)
@pytest.mark.parametrize("url", ["/place/", "/permitted/"])
def test_a_clients_error_that_is_raised_is_kept_after_the_rollback(post, plan, url, error, status):
    """What Django makes of it, the client gets again; what was written is taken back."""
    plan.then = raising(error)
    first = post(url)
    second = post(url)

    assert (first.status_code, second.status_code) == (status, status)
    assert (second.content, is_replay(second)) == (first.content, True)
    assert (plan.runs, written()) == (1, (0, 0))


def test_what_is_refused_today_may_be_allowed_tomorrow(post, plan):
    """403 is of the moment, raised or returned."""
    plan.then = raising(PermissionDenied)
    first = post()
    plan.then = created

    assert first.status_code == 403
    assert post().status_code == 201


def test_a_validation_error_of_rest_framework_is_kept_after_the_rollback(post, plan):
    """It is rolled back without ATOMIC_REQUESTS too."""
    first = post("/rest/", '{"wrong": 1}')
    second = post("/rest/", '{"wrong": 1}')

    assert (first.status_code, second.status_code) == (400, 400)
    assert (second.json(), is_replay(second)) == ({"wrong": ["It is."]}, True)
    assert (plan.runs, written()) == (1, (0, 0))


def test_without_a_key_a_validation_error_takes_all_back_too(post):
    """One view, one way."""
    assert post("/rest/", '{"wrong": 1}', key=None).status_code == 400
    assert written() == (0, 0)


def test_an_error_that_asks_for_a_rollback_gets_it_and_is_kept(post, plan):
    """As a form does that finds its mistake late."""

    def then(*_):
        transaction.set_rollback(True)
        return HttpResponse("no", status=422)

    plan.then = then
    post()
    second = post()

    assert (second.status_code, is_replay(second), written()) == (422, True, (0, 0))


@pytest.mark.django_db(transaction=True)
def test_a_success_that_cannot_be_committed_is_none(post, plan):
    """The view swallowed a database's error; Django would answer 201 and commit nothing."""

    def then(_, order):
        try:
            with transaction.atomic(savepoint=False):
                Order.objects.create(pk=order.pk)
        except IntegrityError:
            pass
        return HttpResponse("well", status=201)

    plan.then = then

    assert post().status_code == 500
    assert (written(), record().state) == ((0, 0), RecordState.RELEASED)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [RuntimeError("the broker is away"), IntegrityError("twice")])
def test_a_hook_that_fails_after_the_commit_does_not_run_the_view_again(post, plan, error):
    """The order stands, and so does its answer; the defect is told as Django tells it."""

    def then(request, order):
        transaction.on_commit(raising(error))
        return created(request, order)

    plan.then = then
    first = post()
    second = post()

    assert first.status_code == 500
    assert (second.status_code, is_replay(second), written()) == (201, True, (1, 1))


@pytest.mark.django_db(transaction=True)
def test_a_commit_whose_answer_was_lost_is_told(post, plan, monkeypatch, caplog):
    """The client has its answer, and the hooks did not run: somebody has to know."""
    commit = BaseDatabaseWrapper._commit

    def lost(self):
        commit(self)
        monkeypatch.setattr(BaseDatabaseWrapper, "_commit", commit)
        raise OperationalError("server closed the connection unexpectedly")

    def then(request, order):
        monkeypatch.setattr(BaseDatabaseWrapper, "_commit", lost)
        return created(request, order)

    plan.then = then

    assert post().status_code == 201
    assert "its on_commit hooks did not all run" in caplog.text
    assert is_replay(post())


@EVERYWHERE
@pytest.mark.django_db(transaction=True)
def test_djangos_transaction_is_kept_away(post, plan, monkeypatch, url):
    """With ATOMIC_REQUESTS the key would be claimed inside what may be rolled back."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    held = []
    plan.then = lambda *_: held.append(record().state) or HttpResponse("well", status=201)

    assert post(url).status_code == 201
    assert is_replay(post(url))
    assert held == [RecordState.IN_PROGRESS]


def taken_over(*_):
    IdempotencyRecord.objects.update(token=1)
    return HttpResponse("well", status=201)


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize(
    ("then", "status"),
    [
        (raising(Http404()), 404),
        (lambda *_: HttpResponse(status=500), 500),
        (taken_over, 409),
    ],
    ids=["raised", "returned", "taken over"],
)
def test_djangos_transactions_on_other_databases_are_rolled_back_too(
    post, plan, monkeypatch, then, status
):
    """The exception that would tell Django to do so ends with us."""
    for alias in ("default", "other"):
        monkeypatch.setitem(connections[alias].settings_dict, "ATOMIC_REQUESTS", True)

    def both(request, order):
        Order.objects.using("other").create()
        return then(request, order)

    plan.then = both

    assert post().status_code == status
    assert (Order.objects.count(), Order.objects.using("other").count()) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_what_has_no_key_is_atomic_where_the_project_says_so(monkeypatch):
    """Django's own was kept away, so ours takes its place."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    seen = []
    view = idempotent(lambda _: seen.append(connection.in_atomic_block) or HttpResponse())

    view(RequestFactory().get("/"))
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", False)
    view(RequestFactory().get("/"))
    view(RequestFactory().post("/"))

    assert seen == [True, False, True]


def test_every_other_alias_keeps_its_own_transaction():
    """A mark for one database, put on top of those that stand."""

    @transaction.non_atomic_requests(using="other")
    def view(_request):
        return HttpResponse()

    assert idempotent(view)._non_atomic_requests == {"default", "other"}
    assert view._non_atomic_requests == {"other"}
    assert csrf_exempt(idempotent(using="other")(acts))._non_atomic_requests == {"other"}


@pytest.mark.django_db(transaction=True)
def test_a_transaction_around_the_view_is_an_error(user, plan):
    """The key would be rolled back with it, or seen by nobody meanwhile."""
    request = RequestFactory().post("/", headers={"Idempotency-Key": "k"})
    request.user = user

    with pytest.raises(InsideTransaction, match=r"acts.*'default'"), transaction.atomic():
        idempotent(acts)(request)

    assert (plan.runs, IdempotencyRecord.objects.count()) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_no_view_runs_while_the_records_cannot_be_reached(post, plan, monkeypatch):
    """Unprotected it might act twice."""
    post(key="another")  # the user's session is read

    def away(execute, sql, params, many, context):
        if "idempotencyrecord" in sql:
            raise OperationalError("server closed the connection unexpectedly")
        return execute(sql, params, many, context)

    monkeypatch.setattr("reliable_effects.idempotency.claim.PATIENCE", 0.1)
    connection.execute_wrappers.append(away)
    try:
        answer = post()
    finally:
        connection.execute_wrappers.clear()

    assert (answer.status_code, code(answer), plan.runs) == (503, "store-unavailable", 1)
    assert int(answer["Retry-After"]) >= 1
