"""
The connection is cut at each round trip to the server in turn, its answer lost or its request.

What is struck is everything that is said on the wire, BEGIN and COMMIT among it, so nothing is left
out because nobody thought of it. A lost answer costs no run, no attempt and no signal of life: the
token in the row says what was done.
"""

from __future__ import annotations

import pytest
from django.db import connection

from tests.faults.evidence import sampled
from tests.faults.lost_answers.of_workers import OneDelivery

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="the proxy speaks to a server"),
]

_A_FEW = 1  # of each kind and scenario, in a quick run: other ones with each seed


@pytest.mark.fault(
    "the connection is cut at each round trip in turn, the answer or the request lost",
    rows="C3 C14 D1",
)
@pytest.mark.timeout(300)  # at full length
def test_wherever_the_connection_is_cut_all_is_done_once(scenario, wire, evidence):
    """Whoever was cut off goes on, or leaves the row to the relay; nothing is done or counted twice."""
    for is_applied in (True, False):
        for number in sampled(range(1, _round_trips(scenario, wire) + 1), _A_FEW):
            scenario.begin()
            wire.cut_at(number, is_applied=is_applied)
            scenario.run()
            cut_off = wire.was_cut
            wire.cut_at(0, is_applied=False)
            scenario.end()

            assert cut_off, f"there were not so many round trips as {number}"
            scenario.judge(evidence, f"round trip {number}, {is_applied=}: {cut_off!r}")


@pytest.mark.skipif(connection.vendor != "mysql", reason="elsewhere it is no round trip")
@pytest.mark.fault("the answer to SET autocommit=1 is lost, after the COMMIT", rows="C3 C14")
def test_a_worker_is_never_shut_out_by_a_lost_answer(make_effect, tmp_path, wire, evidence):
    """Django then took the next atomic() for an inner one, and the thread never came out of it."""
    scenario = OneDelivery(make_effect, tmp_path)
    scenario.begin()
    wire.lose_reply_to(b"SET autocommit=1")

    scenario.run()
    for _ in range(2):
        scenario.rows += scenario.prepare()
        scenario.hint(*scenario.rows)

    assert scenario.error is None
    scenario.judge(evidence, "SET autocommit=1")


@pytest.mark.fault("every connection is cut while an effect acts", rows="C12 D1")
def test_a_database_that_is_away_for_a_moment_is_waited_for(make_effect, tmp_path, wire, evidence):
    """The effect was carried out; a restart of the database is no reason to do it again."""

    class Cut(OneDelivery):
        def acts(self, order, ctx):
            super().acts(order, ctx)
            wire.mode = "cut"
            wire.mode = "ok"

    scenario = Cut(make_effect, tmp_path)
    scenario.begin()

    scenario.run()

    scenario.judge(evidence, "cut while it acts")


def _round_trips(scenario, wire) -> int:
    """How many there are when nothing fails."""
    scenario.begin()
    wire.cut_at(0, is_applied=False)
    scenario.run()
    return wire.round_trips
