"""Of many requests with one key, from several processes at once, one runs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection, connections, transaction
from django.http import HttpResponse

from reliable_effects.clock import DbNow, moved
from reliable_effects.idempotency.remedies import Outcome, resolve
from reliable_effects.idempotency.states import RecordState
from reliable_effects.models import IdempotencyRecord
from tests.idempotency.conftest import code, is_replay, poster, record, written
from tests.idempotency.views import created

pytestmark = pytest.mark.django_db(transaction=True)

PROCESSES, THREADS = 4, 5
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def crowd(django_db_setup) -> Iterator[list[subprocess.Popen[str]]]:  # noqa: ARG001  # they connect to it
    """Processes that wait to be told whose request to send."""
    crowd = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.idempotency.rush", str(THREADS)],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    try:
        for process in crowd:
            assert process.stdout.readline() == "ready\n"
        yield crowd
    finally:
        for process in crowd:
            process.kill()
            process.communicate()


def rushed(crowd, user) -> Counter[str]:
    """What so many clients were answered who asked at one moment."""
    connection.close()
    for process in crowd:
        process.stdin.write(f"{user.pk}\n")
        process.stdin.flush()
    return Counter(process.stdout.readline().strip() for process in crowd for _ in range(THREADS))


@pytest.mark.fault("twenty identical requests at once", rows="I1")
@pytest.mark.parametrize("before", ["nothing", "a released key", "a lease that ended"])
def test_of_twenty_at_once_from_four_processes_one_runs(crowd, user, before):
    """The others are told to come back, or get its answer; nobody gets a server's error."""
    post = poster(user)
    if before != "nothing":
        post()
        IdempotencyRecord.objects.update(state=RecordState.RELEASED, lease_expires_at=ago(MINUTE))
    if before == "a lease that ended":
        IdempotencyRecord.objects.update(state=RecordState.IN_PROGRESS)
    stood = written()[0]

    answers = rushed(crowd, user)

    assert sum(answers.values()) == PROCESSES * THREADS
    [answer] = [line for line in answers if line.startswith("201")]
    assert {line for line in answers if line != answer} <= {"409 conflict"}
    assert written() == (stood + 1, stood + 1)


def ago(span):
    return DbNow() - span


def during(post, plan, act) -> list:
    """The answers of a request, and of what *act* asks while its view runs (in another thread)."""
    inside: list = []

    def then(request, order):
        plan.then = created
        thread = threading.Thread(target=lambda: (inside.append(act()), connections.close_all()))
        thread.start()
        thread.join(30)
        return created(request, order)

    plan.then = then
    return [post(), *inside]


def test_who_comes_while_it_runs_is_told_when_to_come_back(post, plan):
    """No later than the lease ends, and never in zero seconds."""
    first, second = during(post, plan, post)

    assert (first.status_code, code(second)) == (201, "conflict")
    assert 1 <= int(second["Retry-After"]) <= 60
    assert plan.runs == 1


def test_another_request_under_the_key_is_refused_also_meanwhile(post, plan):
    """Waiting would not help it."""
    _, second = during(post, plan, lambda: post(data='{"a": 2}'))

    assert (second.status_code, code(second)) == (422, "fingerprint-mismatch")


SEVERAL_WRITERS = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="one writer at a time: the second waits for the first"
)


@SEVERAL_WRITERS
@pytest.mark.parametrize("url", ["/place/", "/rest/"])
def test_a_view_that_outlives_its_lease_is_rolled_back(post, plan, url):
    """Another has taken over, and is done: there is one order, its own."""

    def later():
        with moved(MINUTE * 2):
            return post(url)

    first, second = during(lambda: post(url), plan, later)

    assert (first.status_code, code(first)) == (409, "conflict")
    assert (second.status_code, written()) == (201, (1, 1))
    assert post(url).content == second.content


@SEVERAL_WRITERS
@pytest.mark.parametrize("url", ["/place/", "/foreign/"])
def test_nobody_waits_for_a_request_that_froze_before_its_commit(post, plan, url):
    """Else each repeated request would take a worker with it. They are told when to come back."""
    post(url)
    IdempotencyRecord.objects.update(
        state=RecordState.IN_PROGRESS, lease_expires_at=ago(MINUTE), status=None
    )
    is_frozen, thaw = threading.Event(), threading.Event()

    def first():
        with transaction.atomic():
            IdempotencyRecord.objects.update(state=RecordState.DONE, status=201)
            is_frozen.set()
            thaw.wait(30)
        connections.close_all()

    thread = threading.Thread(target=first)
    thread.start()
    try:
        assert is_frozen.wait(10)
        answer = post(url)
    finally:
        thaw.set()
        thread.join()

    assert (code(answer), answer["Retry-After"]) == ("conflict", "1")
    assert is_replay(post(url))
    assert plan.runs == 1


def test_a_view_that_nobody_took_over_may_come_late(post, plan):
    """The lease is for others; what is done is done."""

    def then(request, order):
        IdempotencyRecord.objects.update(lease_expires_at=ago(MINUTE))
        return created(request, order)

    plan.then = then

    assert post().status_code == 201
    assert is_replay(post())


def test_a_process_that_was_killed_is_waited_for_until_its_lease_ends(post, plan):
    """Its transaction died with it, so the next request finds nothing and runs."""
    post()
    IdempotencyRecord.objects.update(state=RecordState.IN_PROGRESS, status=None)

    assert code(post()) == "conflict"
    with moved(MINUTE * 2):
        assert post().status_code == 201
    assert plan.runs == 2


def test_the_lease_is_that_of_the_view(post, plan):
    """By the database's clock."""
    plan.then = lambda *_: HttpResponse(str(record().lease_expires_at - record().created_at))

    answer = post("/decorated/").content.decode()

    assert "0:00:06" < answer <= "0:00:07.5"


@SEVERAL_WRITERS
def test_a_request_that_comes_back_does_not_overrule_a_person(post, plan):
    """Who has looked into it says that it did not happen; so what it wrote is rolled back."""

    def person():
        with moved(MINUTE * 2):
            assert code(post("/foreign/")) == "outcome-unknown"
        return resolve(record(), Outcome.DID_NOT, "they have no charge", "ada")

    first, is_resolved = during(lambda: post("/foreign/"), plan, person)

    assert (code(first), is_resolved, written()) == ("conflict", True, (0, 0))
    assert post("/foreign/").status_code == 201
