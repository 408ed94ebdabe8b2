"""A key belongs to who sent it: nobody is given another's answer, nor one that is no longer theirs."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from reliable_effects.idempotency.digests import of_parts
from reliable_effects.models import IdempotencyRecord
from tests.idempotency import views
from tests.idempotency.conftest import code, is_replay, poster, written

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("url", ["/place/", "/rest/", "/orders/"])
def test_another_users_request_under_the_same_key_is_another(post, plan, url):
    """Two browsers with sessions, and nothing but the cookie tells them apart."""
    first = post(url)
    other = poster(get_user_model().objects.create_user("bob"))(url)

    assert (other.status_code, is_replay(other), plan.runs) == (201, False, 2)
    assert other.content != first.content


def test_nobody_can_take_a_key_before_its_owner_does(post, plan):
    """An attacker who knows it has only the same key in a scope of their own."""
    poster(get_user_model().objects.create_user("mallory"))(data='{"a": "evil"}')

    assert post().status_code == 201
    assert plan.runs == 2


@pytest.mark.parametrize("url", ["/place/", "/rest_anonymous/", "/tenant/"])
def test_keys_of_nobody_are_refused(plan, url):
    """Whoever guessed one would get the answer."""
    answer = poster()(url)

    assert (answer.status_code, code(answer), plan.runs) == (401, "identity-required", 0)
    assert not IdempotencyRecord.objects.exists()


def test_known_users_that_are_no_rows_do_not_share_the_keys_of_nobody(plan):
    """The view knows them apart; we do not, so they are refused until a scope says who they are."""
    answer = poster()("/rest_tokens/", headers={"X-User": "ada"})

    assert (answer.status_code, code(answer), plan.runs) == (401, "identity-required", 0)


def test_a_view_may_take_keys_of_everybody(plan):
    """Where nothing in the answer is anybody's."""
    poster()("/public/")

    assert is_replay(poster()("/public/"))
    assert plan.runs == 1


def test_a_scope_of_the_projects_own_tells_tenants_apart(plan):
    """And not the users behind them."""
    poster()("/tenant/", headers={"X-Tenant": "one"})
    same = poster()("/tenant/", headers={"X-Tenant": "one"})
    other = poster()("/tenant/", headers={"X-Tenant": "two"})

    assert (is_replay(same), is_replay(other), plan.runs) == (True, False, 2)


def test_what_is_hashed_together_stays_apart():
    """Else the end of one part could be taken for the beginning of the next."""
    assert of_parts("a", "b/c") != of_parts("ab", "/c")
    assert of_parts("", "ab") != of_parts("ab", "") != of_parts("ab")


def test_permissions_are_asked_before_a_replay(post, plan):
    """Whoever may not see it today gets no answer of yesterday."""
    post("/rest/")
    plan.is_forbidden = True
    refused = post("/rest/")
    plan.is_forbidden = False

    assert (refused.status_code, is_replay(refused)) == (403, False)
    assert b"run" not in refused.content
    assert is_replay(post("/rest/"))


@pytest.mark.parametrize(("url", "status"), [("/permitted/", 403), ("/members/", 302)])
def test_who_has_logged_out_gets_no_answer(post, url, status):
    """The checks around the view come first."""
    post(url)

    assert poster()(url).status_code == status


def test_a_throttle_is_for_what_is_done(post, plan):
    """A client that is throttled on a replay would not know what became of its request."""
    post("/rest/")
    plan.is_throttled = True
    again = post("/rest/")
    new = post("/rest/", key="new")
    free = post("/rest_throttled/", key="new")
    plan.is_throttled = False

    assert (is_replay(again), new.status_code, free.status_code) == (True, 429, 429)
    assert post("/rest/", key="new").status_code == 201
    assert plan.runs == 2


def test_a_throttle_of_the_views_own_is_asked_as_late(post, plan):
    """Also one that overrides the method."""
    post("/rest_guarded/")
    plan.is_throttled = True

    assert is_replay(post("/rest_guarded/"))
    assert post("/rest_guarded/", key="new").status_code == 429


def test_a_view_may_keep_a_stored_answer_back(post, plan):
    """It does not run for a replay, so nobody else asks whose the object is by now."""
    post("/rest_guarded/")
    plan.is_forbidden_object = True
    refused = post("/rest_guarded/")
    plan.is_forbidden_object = False

    assert (refused.status_code, is_replay(refused)) == (403, False)
    assert is_replay(post("/rest_guarded/"))
    assert plan.runs == 1


def test_each_request_asks_a_throttle_once(post):
    """Else half of what is allowed would be used up."""
    post("/rest/", key="one")
    post("/rest/", key=None)
    post("/rest_throttled/", key="one")
    post("/rest_throttled/", key="one")

    assert views.NotThrottled.asked == 4


def test_what_a_stranger_is_told_says_nothing_of_the_request(post):
    """Conflicts and mismatches are the same text for everybody."""
    post(data='{"secret": "canary"}', key="my-key")
    answer = post(data="{}", key="my-key")
    another = post("/other/", "{}", key="my-key")
    again = post("/other/", "[]", key="my-key")

    assert another.status_code == 201
    assert answer.content == again.content
    assert b"canary" not in answer.content
    assert b"my-key" not in answer.content


def test_a_new_secret_forgets_no_key_and_refuses_none(post, settings, plan):
    """The old one is among the fallbacks while records under it live."""
    post()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "a new one, of no use either"

    assert is_replay(post())
    assert post(data='{"a": 2}').status_code == 422
    assert post(key="new").status_code == 201
    assert is_replay(post(key="new"))
    assert plan.runs == 2


def test_of_two_records_under_two_secrets_none_runs_twice(post, settings, plan):
    """During a rollout two processes may insert one each; whoever sees the other gives way."""
    old, new = settings.SECRET_KEY, "a new one, of no use either"
    settings.SECRET_KEY_FALLBACKS = [new]
    post()
    [others] = IdempotencyRecord.objects.all()
    others.delete()

    def at_once(execute, sql, params, many, context):
        done = execute(sql, params, many, context)
        if sql.startswith("INSERT") and "idempotencyrecord" in sql and plan.runs == 1:
            plan.runs = 2
            others.save(force_insert=True)
        return done

    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = new, [old]
    with connection.execute_wrapper(at_once):
        answer = post()

    assert is_replay(answer)
    assert IdempotencyRecord.objects.get().key == others.key
    assert written() == (1, 1)
