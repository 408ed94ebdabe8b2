"""Work is turned away while too much waits, and comes in again when enough is done."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from reliable_effects.clock import moved
from reliable_effects.outbox.models import Delivery
from reliable_effects.watch import shedding
from reliable_effects.watch.shedding import JITTER, shed_load
from tests.shop.models import Order

from .conftest import MINUTE, backlog, finish, look_anew

pytestmark = pytest.mark.django_db
URLS = ["/charge/", "/charge-async/", "/charge-class/", "/charge-async-class/"]


def post(client, url="/charge/"):
    look_anew()
    return client.post(url)


@pytest.mark.parametrize("url", URLS)
def test_a_view_is_open_up_to_its_limit(client, url):
    backlog(10)

    assert post(client, url).status_code == 200


@pytest.mark.parametrize("url", URLS)
def test_over_its_limit_work_is_turned_away_with_a_problem(client, url):
    """Nothing was begun, so it may be tried again, and the answer says when."""
    backlog(11)

    answer = post(client, url)

    assert (answer.status_code, answer.json()["code"]) == (503, "backlogged")
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == 503
    assert int(answer["Retry-After"]) >= 1
    assert not Order.objects.exists()


def test_what_has_waited_for_too_long_closes_a_view(client):
    """One delivery is enough: it stands for all behind it."""
    backlog(1, age=6 * MINUTE)

    assert post(client).status_code == 503


@pytest.mark.parametrize("url", URLS)
def test_reads_stay_up(client, url):
    """Who looks at an order adds nothing to what waits."""
    backlog(11)

    assert client.get(url).status_code == 200
    assert client.head(url).status_code == 200
    assert client.options(url).status_code == 200


@pytest.mark.parametrize("url", URLS)
def test_a_view_has_one_limit_that_looks_once_in_two_seconds(client, url):
    """Django decorates the method of a class for each request anew."""
    backlog(11)
    client.post(url)
    limits = len(shedding.declared)

    with CaptureQueriesContext(connection) as queries:
        answers = {client.post(url).status_code for _ in range(5)}

    assert (answers, len(shedding.declared), len(queries)) == ({503}, limits, 0)


def test_what_was_promised_goes_on(client):
    """Turned away is what would be added, and nothing else."""
    rows = backlog(11)
    post(client)

    assert Delivery.objects.due().count() == len(rows)


@pytest.mark.parametrize("url", URLS)
def test_it_opens_again_only_under_four_fifths(client, caplog, url):
    """At the limit itself it would open and close with each delivery."""
    caplog.set_level(logging.WARNING, logger="reliable_effects")
    backlog(11)
    answers = []
    for _ in range(4):
        answers.append(post(client, url).status_code)
        finish(1)

    assert answers == [503, 503, 503, 200]  # 11, 10, 9, and 8 of 10
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "turning work away from the queue 'payments'",
        "work may come to the queue 'payments' again",
    ]


def test_an_age_has_the_same_patience(client):
    """Closed at five minutes, it opens under four."""
    backlog(1, age=6 * MINUTE)
    closed = post(client).status_code
    Delivery.objects.all().delete()
    backlog(1, age=timedelta(minutes=4, seconds=30))
    still = post(client).status_code
    Delivery.objects.all().delete()
    backlog(1, age=timedelta(minutes=3, seconds=30))

    assert (closed, still, post(client).status_code) == (503, 503, 200)


@pytest.mark.parametrize(
    ("count", "done", "wait"),
    [
        (600, 300, 292 / 5),  # all but 8 of 300 are too many, and 5 a second are done
        (60, 30, 22 / 0.5),
        (330, 300, 5),  # soon, and not at once
        (11, 0, 300),  # nobody works: as long as can be
    ],
)
def test_the_wait_is_what_is_too_much_by_what_is_done(client, count, done, wait, monkeypatch):
    """Jitter is a fifth at most; here it is none."""
    monkeypatch.setattr(shedding.random, "uniform", lambda *_: 1.0)
    backlog(count)
    finish(done)

    assert int(post(client)["Retry-After"]) == pytest.approx(wait, abs=1)


def test_those_who_were_turned_away_do_not_come_back_together(client):
    """A fifth sooner, or later."""
    backlog(11)

    waits = {int(post(client)["Retry-After"]) for _ in range(60)}

    assert len(waits) > 10
    assert min(waits) >= 300 * (1 - JITTER)
    assert max(waits) <= 300 * (1 + JITTER) + 1


def test_what_cannot_be_seen_turns_nobody_away(client, caplog):
    """A guard that fails must not become the outage."""
    backlog(11)

    def lose(execute, sql, params, many, context):
        if "reliable_effects_delivery" in sql and "COUNT(" in sql:
            raise OperationalError("server closed the connection")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(lose):
        answer = post(client)

    assert answer.status_code == 200
    assert "no request is turned away for it" in caplog.text


def test_503s_are_no_errors_that_mail_the_admins(client, caplog):
    """There would be one for each request of a rush."""
    backlog(11)
    post(client)

    assert [r for r in caplog.records if r.name == "django.request"] == []


def test_the_clock_is_the_databases(client):
    """What is due is compared where it is kept."""
    backlog(11, age=-2 * MINUTE)
    before = post(client).status_code

    with moved(3 * MINUTE):
        after = post(client).status_code

    assert (before, after) == (200, 503)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "say max_age"),
        ({"queue": "payments"}, "say max_age"),
        ({"max_backlog": 5}, "say which line"),
        ({"queue": "payments", "max_backlog": 0}, "max_backlog=0"),
        ({"queue": "payments", "max_backlog": 10_001}, "max_backlog=10001"),
        ({"queue": "payments", "max_backlog": True}, "max_backlog=True"),
        ({"queue": "payments", "max_age": 5}, "max_age=5"),
        ({"queue": "payments", "max_age": timedelta(0)}, "max_age="),
        ({"queue": "a", "effects": ["b"], "max_backlog": 5}, "not both"),
        ({"max_backlog_per": 5}, "go together"),
        ({"queue": "payments", "max_backlog": 5, "per": lambda _: None}, "go together"),
    ],
)
def test_a_limit_that_limits_nothing_is_refused(given, named):
    """It would be found out on the day it is needed."""
    with pytest.raises(ImproperlyConfigured, match=f"shed_load on .*{named}"):
        shed_load(**given)
