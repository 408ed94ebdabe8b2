"""
Writing down a failure fails: the database refuses what the exception said.

The attempt is counted, the row moves on, and what can be kept is kept, at once: to try the same for
ten seconds, and then to leave it to the lease, would say that the worker had died.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import DataError, connection

from reliable_effects import Poison, Skip, Uncertain
from reliable_effects.outbox.models import Attempt
from reliable_effects.outbox.states import State
from tests.faults.outside import Outside
from tests.outbox.conftest import carry_out, pending_delivery

pytestmark = pytest.mark.django_db(transaction=True)

ENDINGS = {
    "failure": (ValueError("no \N{PILE OF POO}"), State.PENDING),
    "poison": (Poison("never \N{PILE OF POO}"), State.POISONED),
    "skip": (Skip("not now \N{PILE OF POO}"), State.SKIPPED),
    "doubt": (Uncertain("no answer \N{PILE OF POO}"), State.UNCERTAIN),
}


@pytest.fixture
def outside(tmp_path) -> Outside:
    return Outside(tmp_path / "calls")


@pytest.fixture
def failing(make_effect, outside):
    """`failing(error)`: a delivery whose effect acts, and raises it."""

    def make(error: Exception):
        def acts(order, ctx):
            outside.write(f"order {order.pk}", ctx.idempotency_key)
            raise error

        return pending_delivery(make_effect(acts, max_attempts=3))

    return make


@contextmanager
def refusing_attempts(*, but: str = "nothing") -> Iterator[None]:
    """Each INSERT of an attempt fails for good, unless it says *but*."""

    def refuse(execute, sql, params, many, context):
        if sql.startswith("INSERT") and Attempt._meta.db_table in sql and but not in str(params):
            raise DataError("the database cannot keep it")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        yield


@pytest.mark.fault("the text of a failure cannot be stored", rows="W8")
@pytest.mark.parametrize("ending", ENDINGS)
def test_what_cannot_be_kept_of_a_failure_is_left_out(ending, failing, outside, evidence):
    """The outcome, the number and the fingerprint are ours, and fit everywhere."""
    error, state = ENDINGS[ending]
    delivery = failing(error)

    with refusing_attempts(but="The database refused"):
        carry_out(delivery)

    kept = Attempt.objects.get()
    assert (delivery.state, delivery.attempts) == (state, 1)
    assert (kept.number, kept.traceback, len(kept.fingerprint)) == (1, "", 32)
    verdict = outside.judge({f"order {delivery.event.subject_pk}"})
    evidence.add(lost=verdict.lost, extra_runs=verdict.extra_runs)


@pytest.mark.fault("no attempt can be stored at all", rows="W8")
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_row_moves_on_where_no_attempt_can_be_kept(ending, failing, outside, evidence):
    """The attempt was counted at the claim; the log has the rest."""
    error, state = ENDINGS[ending]
    delivery = failing(error)

    with refusing_attempts():
        carry_out(delivery)

    assert not Attempt.objects.exists()
    assert (delivery.state, delivery.attempts) == (state, 1)
    verdict = outside.judge({f"order {delivery.event.subject_pk}"})
    evidence.add(lost=verdict.lost, extra_runs=verdict.extra_runs)


@pytest.fixture
def narrow_table() -> Iterator[None]:
    """As of a server whose character set is utf8mb3: four bytes are an error, an operational one."""
    table = Attempt._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"ALTER TABLE {table} MODIFY message longtext CHARACTER SET utf8mb3 NOT NULL"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute(
            f"ALTER TABLE {table} MODIFY message longtext CHARACTER SET utf8mb4 NOT NULL"
        )


@pytest.mark.skipif(connection.vendor != "mysql", reason="of MariaDB's character sets")
@pytest.mark.usefixtures("narrow_table")
@pytest.mark.fault("MariaDB cannot keep the characters of a message", rows="W8")
def test_a_column_that_is_too_narrow_for_a_message_costs_only_the_message(failing, evidence):
    """Django calls it an OperationalError, as it does a lost connection; it never passes."""
    delivery = failing(ENDINGS["failure"][0])

    carry_out(delivery)

    assert (delivery.state, delivery.attempts) == (State.PENDING, 1)
    assert "refused" in Attempt.objects.get().message
    evidence.add()
