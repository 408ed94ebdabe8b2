"""
What is hot touches what it needs in a crowd: of 200,000 rows that ended or lie far ahead, none.

Twice: with the statistics of today, and with those of a night in which nothing was pending (then
PostgreSQL takes an index that is full for an empty one).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from reliable_effects.clock import DbNow
from reliable_effects.outbox import dispatch, heartbeat, prune, rescue, unknown
from reliable_effects.outbox.claim import claim, look
from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.one_trip import succeed_and_claim
from reliable_effects.outbox.pace import pace
from reliable_effects.outbox.relay import relay, take, waiting_queues
from reliable_effects.outbox.states import Flag, Reason, State
from reliable_effects.schedule.tables import tables
from reliable_effects.watch import status
from tests.faults.plans.crowd import (
    DEAD,
    DUE,
    POISONED,
    QUEUES,
    known_crowd,
    surprising_crowd,
)
from tests.faults.plans.touched import Touched, touched
from tests.forgetting import forget_rows
from tests.outbox.conftest import make_effect  # noqa: F401  # a fixture
from tests.sweeps import transport

pytestmark = [
    pytest.mark.django_db,  # each test is rolled back, so the crowd stands for all of them
    pytest.mark.skipif(connection.vendor == "sqlite", reason="for servers with statistics"),
    pytest.mark.usefixtures("crowd"),
    pytest.mark.fault("200,000 rows ended or lie far ahead, and 10,000 are due", rows="T7"),
]

PRIMARY = "reliable_effects_delivery_pkey" if connection.vendor == "postgresql" else "PRIMARY"
EVENT = "reliable_effects_outboxevent_pkey" if connection.vendor == "postgresql" else "PRIMARY"
# With the claim, on PostgreSQL. There are none of them, so that either is as good.
SUBJECT = {"ALL OF shop_order", "shop_order_pkey"}
OF_EVENT = {"reliable_effects_delivery_event_id_1f06a349"}
# Of attempts there are none here, so that either is as good.
OF_ATTEMPT = {"ALL OF reliable_effects_attempt", "reliable_effects_attempt_delivery_id_47f62a05"}
# MariaDB finds a running or poisoned row by either; both begin with the state.
ASIDE = {"re_delivery_aside"} | ({"re_delivery_due"} if connection.vendor == "mysql" else set())
# MariaDB's claim says the state too; the index that begins with it and the id serves as well.
BY_ID = {PRIMARY, EVENT} | (ASIDE if PRIMARY == EVENT else SUBJECT)
LOOK, DUE_AT, FINISHED = "re_delivery_look", "re_delivery_due", "re_delivery_finished"


@pytest.fixture(scope="module", params=[known_crowd, surprising_crowd])
def crowd(request, django_db_setup, django_db_blocker) -> Iterator[None]:  # noqa: ARG001  # there first
    with django_db_blocker.unblock():
        yield from request.param()


@pytest.fixture(autouse=True)
def _fresh_process(settings: Any) -> Iterator[None]:
    """It sends hints into a list, and remembers nothing of an earlier test."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "tests.sweeps.transport.send"}
    transport.reset()
    forget_rows()
    yield
    forget_rows()


@pytest.fixture
def hinted(make_effect) -> Callable[..., list[int]]:  # noqa: F811  # a fixture
    """Ids of 20 that are due, of an effect that is quick."""

    def make(function: Callable[..., None] = lambda *_: None, **options: Any) -> list[int]:
        effect = make_effect(function, **options)
        pace.note(effect.name, 0.0)
        rows = Delivery.objects.in_line(QUEUES[1]).values_list("pk", flat=True)
        ids = sorted(rows[:20])
        Delivery.objects.filter(pk__in=ids).update(effect=effect.name, hints=1)
        return ids

    return make


def within(found: Touched, rows: int, indexes: set[str]) -> None:
    """*found* read at most so many rows in all, and through nothing but these indexes."""
    for statement in found:
        assert statement.indexes <= indexes, (statement.sql, statement.plan)
    assert found.rows <= rows, [(s.rows, s.sql, s.plan) for s in found if s.rows > rows / 10]


# What goes by id


@pytest.mark.parametrize(
    ("options", "rows_each"),
    [
        ({}, 8),  # look, claim (lock, row, twice, and event), complete (twice)
        ({"atomic": True}, 8),
        ({"harmless_to_repeat": True}, 8),
        ({"verify": lambda *_: True}, 8),
    ],
    ids=["single", "atomic", "group", "verifiable"],
)
def test_claim_and_completion_read_their_own_rows(options, rows_each, hinted, evidence):
    """Of the ids of a hint, not of all that wait; one by one, with the next, or as a group."""
    ids = hinted(**options)

    with touched() as found:
        deliver("default", ids)

    done = Delivery.objects.filter(pk__in=ids, state=State.SUCCEEDED).count()
    assert done > 0
    within(found, rows_each * len(ids), BY_ID)
    evidence.add()


def test_a_completion_that_claims_the_next_reads_two_rows(hinted, evidence):
    """On PostgreSQL in one message, elsewhere in two."""
    first, second = look("default", hinted()[:2])
    (held,) = claim([first])

    with touched() as found:
        won, following = succeed_and_claim(held, second)

    assert won
    assert following is not None
    within(found, 6, BY_ID)
    evidence.add()


def test_a_failure_is_written_to_its_own_row(hinted, evidence):
    """An outage of a partner fails everything that waits."""
    ids = hinted(lambda *_: 1 / 0)[:5]

    with touched() as found:
        for pk in ids:
            deliver("default", [pk])

    assert Delivery.objects.filter(pk__in=ids, state=State.PENDING, attempts=1).count() == 5
    within(found, 7 * 5, BY_ID)
    evidence.add()


def test_what_could_not_be_hinted_is_put_back_by_its_ids(hinted, evidence):
    """The broker fails when there is most to say."""
    ids = hinted()

    with touched() as found:
        dispatch.put_back("default", ids)

    assert not Delivery.objects.filter(pk__in=ids, hints__gt=0).exists()
    within(found, 2 * len(ids), {PRIMARY})
    evidence.add()


# The sweeps


@pytest.mark.parametrize("is_all_due", [False, True], ids=["some due", "nearly all due"])
def test_relay_takes_what_is_due_in_its_order(is_all_due, evidence):
    """What lies far ahead is not passed over, nor what has ended, however much is due; no sort."""
    if is_all_due:  # then "most of the queue" is no reason to read all of the queue
        day = timedelta(days=1)
        waiting = Delivery.objects.waiting().filter(queue=QUEUES[1])
        waiting.update(due_at=DbNow() - day, look_at=DbNow() - day)

    with touched() as found:
        taken = take("default", QUEUES[1], 50)

    assert len(taken) == 50
    # In one statement on PostgreSQL, in two elsewhere.
    assert (found.rows, found.indexes) == (50 + 50, {LOOK, PRIMARY}), found
    assert not any(statement.sorts for statement in found)
    evidence.add()


def test_each_waiting_queue_costs_a_probe_or_two(evidence):
    """Each turn of the relay asks, and each bite of effects_worker."""
    with touched() as found:
        queues = list(waiting_queues("default"))

    assert queues == list(QUEUES)
    within(found, 2 * (len(QUEUES) + 1), {LOOK})
    assert not any(statement.sorts for statement in found)
    evidence.add()


def test_a_whole_relay_reads_what_it_hints(evidence):
    """For the budget of each queue, which is consumed, it reads nothing more than what it hinted."""
    for queue in QUEUES:
        heartbeat.note_claim("default", queue)

    with touched() as found:
        relay("default")

    hinted_rows = len(transport.hinted_ids())
    assert hinted_rows == 2000 * len(QUEUES)
    within(found, 2 * hinted_rows + 100, {LOOK, PRIMARY})
    evidence.add()


def test_a_queue_that_nobody_consumes_is_probed_for_a_row(evidence):
    """Work has been due for a minute, and no claim was seen: one look each, one hint each."""
    with touched() as found:
        relay("default")

    assert len(transport.hints) == len(QUEUES)
    within(found, 40, {LOOK, PRIMARY})
    evidence.add()


def test_rescue_reads_what_runs_and_what_is_set_aside(evidence):
    """However much has ended. Each is then locked and written by its id."""
    with touched() as found:
        swept = rescue.rescue("default", Turn(None))

    assert swept.done == DEAD
    within(found, 4 * DEAD + 2 * POISONED, ASIDE | {PRIMARY})
    evidence.add()


def test_prune_goes_by_the_end_and_deletes_by_id(settings, evidence):
    """Oldest first, each batch where the last one ended; its 500 ids are asked for as ids."""
    settings.RELIABLE_EFFECTS |= {"RETENTION": timedelta(hours=51)}

    done = 0
    with touched() as found:
        for _ in range(10):  # one turn has seconds, and a busy machine does little in them
            done += prune.prune("default").done
            if done > 500:
                break

    assert done > 500
    allowed = {FINISHED, PRIMARY, EVENT, "re_event_emitted_at", *OF_ATTEMPT}
    within(found, 6 * done + 1000, allowed | OF_EVENT)  # five reads for each that goes
    evidence.add()


def test_poison_with_a_retention_is_walked_by_its_id(settings, evidence):
    """It lies in no order of its end, so each is read once, a batch at a time."""
    settings.RELIABLE_EFFECTS |= {"RETENTION_BY_STATE": {"POISONED": timedelta(seconds=1)}}

    with touched() as found:
        swept = prune.prune("default")

    assert swept.done == POISONED
    allowed = {FINISHED, PRIMARY, EVENT, "re_event_emitted_at", *OF_ATTEMPT}
    within(found, 6 * POISONED + 1000, allowed | OF_EVENT | ASIDE)
    evidence.add()


# What alarms and people ask


def test_the_oldest_due_is_one_end_of_an_index(evidence):
    """Alarms and back pressure ask for it all the time."""
    with touched() as found:
        oldest = Delivery.objects.oldest_due()

    assert oldest is not None
    within(found, 2, {DUE_AT})
    assert not any(statement.sorts for statement in found)
    evidence.add()


def test_effects_status_counts_so_far_and_no_further(evidence):
    """What ended is not looked at, and of what waits or is set aside 10,000 a count, give or take."""
    with touched() as found:
        database = status.of("default")

    assert not database.problem
    # PostgreSQL sorts three times as many rows rather than fetch 10,000 in the order of an index.
    bound = 4 * status.COUNT_AT_MOST
    jobs = [table.model._meta for table in tables("default")]
    of_jobs = {index.name for meta in jobs for index in meta.indexes}
    of_jobs |= {f"ALL OF {meta.db_table}" for meta in jobs}  # there are none here
    for statement in found:
        assert statement.rows <= bound, statement.plan
        assert statement.indexes <= {LOOK, *ASIDE, *of_jobs}, statement.plan
    [queue] = [queue for queue in database.queues if queue.name == QUEUES[1]]
    assert (queue.due, queue.later) == (DUE // 3 + 1, status.COUNT_AT_MOST)
    evidence.add()


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("", 10_001),
        ("?state=needs+a+person", 2 * POISONED),
        ("?state=poisoned", 2 * POISONED),
        ("?state=running", 2 * DEAD),
        ("?reason=ATTEMPTS_SPENT", 2 * POISONED),
    ],
)
def test_the_pages_that_alarms_lead_to_count_so_far(query, rows, admin_client, evidence):
    """A page of the admin in the middle of an incident: not the table, but what is set aside."""
    with touched() as found:
        page = admin_client.get(f"/admin/reliable_effects/delivery/{query}")

    assert page.status_code == 200
    [count] = [statement for statement in found if "COUNT(" in statement.sql]
    assert count.rows <= rows, count.plan
    evidence.add()


def test_pills_are_looked_through_a_part_at_a_time(monkeypatch, evidence):
    """Of a million poison pills a sweep reads 10,000 to see whether their effect is known again."""
    monkeypatch.setattr(unknown, "_LOOK_THROUGH", 100)
    last = Delivery.objects.poisoned().order_by("-pk").first()
    assert last is not None
    last.effect, last.reason = "shop.wrap", Reason.UNKNOWN_EFFECT
    last.save(update_fields=["effect", "reason"])

    freed = []
    for _ in range(POISONED // 100 + 1):
        with touched() as found:
            freed.append(unknown.revive("default"))
        # MariaDB takes the index that it must sort where there are few to sort; with 80,000 not.
        bound = 202 if connection.vendor == "postgresql" else POISONED + 102
        within(found, bound, ASIDE | {PRIMARY})

    assert sum(freed) == 1
    last.refresh_from_db()
    assert (last.state, last.flags & Flag.ALONE) == (State.PENDING, 0)
    evidence.add()
