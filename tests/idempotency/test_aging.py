"""Answers are kept for a while, keys for longer, and then both go; who asks to be forgotten is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.http import HttpResponse

from reliable_effects.clock import DbNow, moved
from reliable_effects.idempotency.digests import of_user
from reliable_effects.idempotency.states import RecordState
from reliable_effects.idempotency.sweeps import IDEMPOTENCY
from reliable_effects.models import IdempotencyRecord
from reliable_effects.outbox.forget import forget
from reliable_effects.outbox.sweeps import sweep, tasks
from tests.idempotency.conftest import code, is_replay, record

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
LATER, LATEST = 25 * HOUR, 73 * HOUR  # past the answer's retention, and past the key's


def swept(after: timedelta) -> int:
    with moved(after):
        return sweep("default", IDEMPOTENCY, now=True).done


@pytest.mark.fault("a request is sent again when its key has expired", rows="I5")
@pytest.mark.parametrize("is_swept", [False, True])
def test_an_answer_goes_before_its_key(post, plan, is_swept):
    """Within its retention a known key never runs again; after that it is new, not stuck."""
    first = post()
    if is_swept:
        assert swept(HOUR) == 0
    assert is_replay(post())
    if is_swept:
        assert swept(LATER) == 1
    with moved(LATER):
        assert code(post()) == "result-expired"
    assert plan.runs == 1
    if is_swept:
        assert swept(LATEST) == 1
        assert not IdempotencyRecord.objects.exists()
    with moved(LATEST):
        again = post(data='{"a": 2}')
        assert (again.status_code, is_replay(again)) == (201, False)
        assert again.content != first.content
        assert is_replay(post(data='{"a": 2}'))


def test_a_blanked_record_keeps_what_refuses_the_second_request(post):
    """Its status, and that it was."""
    post()
    swept(LATER)

    row = record()
    assert (row.body, row.headers, row.status, row.state) == (None, [], 201, RecordState.DONE)
    assert row.look_at == row.expires_at


def test_what_nobody_ended_goes_when_its_key_would(post):
    """A process was killed, and no client asked again."""
    post()
    IdempotencyRecord.objects.update(
        state=RecordState.IN_PROGRESS, look_at=DbNow() + LATEST, status=None
    )

    assert swept(LATER) == 0
    assert swept(LATEST + HOUR) == 1


def test_released_keys_are_swept_at_once(post, plan):
    """They say nothing."""

    def fails(*_):
        raise RuntimeError("ouch")

    plan.then = fails
    post()

    assert swept(HOUR) == 1
    assert not IdempotencyRecord.objects.exists()


def test_the_sweep_goes_by_an_index_and_in_batches(post, monkeypatch):
    """Millions of keys that are not due are not read."""
    post()
    rows = [record() for _ in range(7)]
    for number, row in enumerate(rows):
        row.pk, row.key = None, f"{number}"
    IdempotencyRecord.objects.bulk_create(rows)
    monkeypatch.setattr("reliable_effects.idempotency.sweeps._BATCH", 3)

    with moved(LATEST):
        due = IdempotencyRecord.objects.filter(look_at__lte=DbNow()).order_by("look_at")
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL enable_seqscan = off")
            assert "re_idempotency_look_at" in due[:500].explain()
        swept(timedelta(0))

    assert not IdempotencyRecord.objects.exists()


def test_beat_and_workers_know_the_sweep():
    """It has a task and a period as all have."""
    from reliable_effects import tasks as ours  # noqa: PLC0415

    assert tasks()["reliable_effects.idempotency"] == timedelta(minutes=1)
    assert ours.idempotency.name == "reliable_effects.idempotency"


def test_who_is_forgotten_loses_the_answers_and_not_the_protection(post, plan, user):
    """An answer may say anything about a person; a second order would be no erasure."""
    post()
    post(key="two")

    dry = forget(user, by="ada", why="request of 3 May", dry_run=True)
    assert is_replay(post())
    done = forget(f"auth.User:{user.pk}", by="ada", why="request of 3 May")
    again = forget(user, by="ada", why="twice")

    shares = [f.others["idempotency records"] for f in (dry, done, again)]
    assert [(share.blanked, share.left) for share in shares] == [(2, 0), (2, 0), (0, 0)]
    assert code(post()) == "result-expired"
    assert plan.runs == 2
    for row in IdempotencyRecord.objects.all():
        assert (row.body, row.headers, row.principal) == (None, [], "")


def test_a_request_in_progress_is_left_and_told(post, user):
    """Its answer is yet to come."""
    post()
    IdempotencyRecord.objects.update(state=RecordState.IN_PROGRESS)

    done = forget(user, by="ada", why="request of 3 May")

    assert done.others["idempotency records"].left == 1
    assert not done.is_complete
    assert record().principal == of_user("auth.user", str(user.pk))


def test_who_was_forgotten_has_no_answer_kept_by_a_late_request(post, plan, user):
    """No later erasure would find it."""

    def then(*_):
        IdempotencyRecord.objects.update(state=RecordState.UNCERTAIN, look_at=None)
        forget(user, by="ada", why="request of 3 May")
        return HttpResponse("card 4242 of Ada")

    plan.then = then
    post("/foreign/")

    assert (record().body, record().headers, record().state) == (None, [], RecordState.DONE)
    assert code(post("/foreign/")) == "result-expired"


def test_who_was_forgotten_has_no_answer_kept_that_resolve_knows(post, plan, user):
    """The same, where nobody saw the first request end."""

    def then(request, _):
        request.idempotency.mark_sent()
        raise RuntimeError("ouch")

    plan.then = then
    post("/rest_settled/")
    forget(user, by="ada", why="request of 3 May")

    assert code(post("/rest_settled/")) == "result-expired"
    assert (record().body, record().state) == (None, RecordState.DONE)


def test_a_record_is_found_by_the_key_that_a_client_tells(post):
    """Support has only that."""
    post(key="my-key")

    assert IdempotencyRecord.objects.by_key("my-key").count() == 1
    assert not IdempotencyRecord.objects.by_key("another").exists()
