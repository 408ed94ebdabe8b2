"""
A statement or a COMMIT was done, and its answer never came.

On servers a proxy cuts the connection when the answer passes; everywhere, each query of a
delivery fails in turn, once before and once after it was applied.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import OperationalError, connection

from reliable_effects import Snooze
from reliable_effects.clock import moved
from reliable_effects.outbox.deliver import deliver, on_hint
from reliable_effects.outbox.heartbeat import Turn, note_claim
from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.pace import pace
from reliable_effects.outbox.rescue import rescue
from reliable_effects.outbox.states import State
from tests.outbox.conftest import (
    carry_out,
    pending_delivery,
    raising,
    runs_of,
    uncertain_delivery,
    write_down,
)
from tests.services import Proxy

pytestmark = pytest.mark.django_db(transaction=True)

ON_POSTGRESQL = connection.vendor == "postgresql"

on_a_server = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="the proxy speaks to a server"
)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """Between Django and its database."""
    note_claim("default", "effects")  # so that the next COMMIT is the one that a test means
    settings, port = connection.settings_dict, connection.settings_dict["PORT"]
    connection.close()
    with Proxy(int(port)) as proxy:
        settings["PORT"] = proxy.port
        try:
            yield proxy
            assert not proxy._lose_reply_to, "the answer that was to be lost was never sent"
        finally:
            connection.close()
            settings["PORT"] = port


CLAIM = b"FOR UPDATE SKIP LOCKED" if ON_POSTGRESQL else b"SET `attempts` ="
COMPLETE = b"AS d SET state"
# Elsewhere these are two statements; the first is the one that both have done.
COMPLETE_AND_CLAIM = b"SELECT EXISTS (SELECT FROM done)" if ON_POSTGRESQL else COMPLETE
COMPLETE_GROUP = b"FOR UPDATE OF d" if ON_POSTGRESQL else b"FOR UPDATE"
COMMIT = b"COMMIT"


@on_a_server
@pytest.mark.parametrize("lost", [CLAIM, COMPLETE], ids=["claim", "complete"])
def test_a_lost_answer_costs_neither_a_run_nor_an_attempt(lost, make_effect, proxy):
    """The token in the row says whether it was done."""
    delivery = pending_delivery(make_effect())
    proxy.lose_reply_to(lost)

    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert delivery.attempts == 1
    assert runs_of(delivery) == 1


@on_a_server
@pytest.mark.usefixtures("unhurried")
def test_completing_and_claiming_without_an_answer_loses_neither(make_effect, proxy):
    """The first was completed and the second claimed: so it runs, once."""
    one = make_effect()
    rows = [pending_delivery(one) for _ in range(2)]
    pace.note(one.name, 0.001)
    proxy.lose_reply_to(COMPLETE_AND_CLAIM)

    deliver("default", [row.pk for row in rows])

    _all_done_once(rows)


@on_a_server
@pytest.mark.parametrize("lost", [CLAIM, COMPLETE_GROUP], ids=["claim", "complete"])
@pytest.mark.usefixtures("unhurried")
def test_a_group_without_an_answer_is_done_once(lost, make_effect, proxy):
    """Asked by its token, as a single one is."""
    one = make_effect(harmless_to_repeat=True)
    rows = [pending_delivery(one) for _ in range(3)]
    pace.note(one.name, 0.001)
    proxy.lose_reply_to(lost)

    deliver("default", [row.pk for row in rows])

    _all_done_once(rows)


@on_a_server
@pytest.mark.parametrize(
    ("error", "attempts", "kept"),
    [(ValueError("no"), 1, 1), (Snooze(timedelta(0)), 0, 0)],
    ids=["failure", "snooze"],
)
def test_a_move_whose_commit_was_lost_is_made_once(error, attempts, kept, make_effect, proxy):
    """An attempt is neither recorded nor given back twice."""
    delivery = pending_delivery(make_effect(raising(error)))
    proxy.lose_reply_to(COMMIT)

    carry_out(delivery)

    assert delivery.state == State.PENDING
    assert delivery.attempts == attempts
    assert Attempt.objects.count() == kept


@on_a_server
def test_an_atomic_effect_whose_commit_was_lost_has_succeeded(make_effect, proxy):
    """Its writes and its completion are one commit; it is known by the state."""
    delivery = pending_delivery(make_effect(atomic=True))
    proxy.lose_reply_to(COMMIT)

    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert delivery.attempts == 1
    assert runs_of(delivery) == 1
    assert not Attempt.objects.exists()


@on_a_server
def test_a_database_that_is_away_for_a_moment_is_waited_for(make_effect, proxy):
    """The effect was carried out; a restart of the database is no reason to do it again."""

    def cut(order, ctx):
        write_down(order, ctx)
        proxy.mode = "cut"
        proxy.mode = "ok"

    delivery = pending_delivery(make_effect(cut))

    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert runs_of(delivery) == 1


KINDS = {
    "plain": {},
    "atomic": {"atomic": True},
    "verifiable": {"verify": lambda *_: True},
    "asking": {"still_needed": lambda _: True},
}


@pytest.mark.parametrize("applied", [False, True], ids=["not applied", "applied"])
@pytest.mark.parametrize("kind", KINDS)
def test_whichever_query_fails_the_effect_is_done_in_the_end(kind, applied, make_effect):
    """Query 1, 2, 3 … until a delivery passes in which none failed."""
    one = make_effect(**KINDS[kind])
    number, failed = 0, True
    while failed:
        number += 1
        delivery = pending_delivery(one)
        failed = _delivered_with_failure(delivery, number, applied=applied)

        _drained(delivery)
        assert delivery.state == State.SUCCEEDED, f"query {number}"
        # The effect's own INSERT may be the query whose answer was lost.
        assert 1 <= runs_of(delivery) <= (1 if one.atomic else 2), f"query {number}"
    assert number > 4


@pytest.mark.parametrize("applied", [False, True], ids=["not applied", "applied"])
def test_whichever_query_fails_a_failure_is_counted(applied, make_effect):
    """At most one attempt a claim, and the row is never stuck."""
    one = make_effect(raising(ValueError("no")), max_attempts=2)
    number, failed = 0, True
    while failed:
        number += 1
        delivery = pending_delivery(one)
        failed = _delivered_with_failure(delivery, number, applied=applied)

        _drained(delivery)
        assert delivery.state == State.POISONED, f"query {number}"
        assert delivery.attempts == 2, f"query {number}"


def test_whichever_query_fails_verify_has_the_last_word(make_effect):
    """Nothing runs again that verify says has happened."""
    one = make_effect(verify=lambda *_: True)
    number, failed = 0, True
    while failed:
        number += 1
        delivery = uncertain_delivery(one)
        failed = _delivered_with_failure(delivery, number, applied=True)

        _drained(delivery)
        assert delivery.state == State.SUCCEEDED, f"query {number}"
        assert runs_of(delivery) == 0, f"query {number}"


def _delivered_with_failure(delivery: Delivery, number: int, *, applied: bool) -> bool:
    """Deliver it while query *number* fails; whether there were so many."""
    seen = 0

    def fail(execute, sql, params, many, context):
        nonlocal seen
        if sql.startswith("BEGIN"):  # SQLite's, in this process: no answer to it can be lost
            return execute(sql, params, many, context)
        seen += 1
        if seen == number:
            if applied:
                execute(sql, params, many, context)
            raise OperationalError("the answer was lost")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(fail):
        on_hint({"v": 1, "db": "default", "ids": [delivery.pk]})
    return seen >= number


def _drained(delivery: Delivery) -> None:
    """Let the sweeps do what they would have done in the next hours."""
    for hours in range(1, 6):
        with moved(timedelta(hours=hours)):
            rescue("default", Turn(None))
            carry_out(delivery)


def _all_done_once(rows: list[Delivery]) -> None:
    for row in rows:
        row.refresh_from_db()
    assert [row.state for row in rows] == [State.SUCCEEDED] * len(rows)
    assert [row.attempts for row in rows] == [1] * len(rows)
    assert [runs_of(row) for row in rows] == [1] * len(rows)
