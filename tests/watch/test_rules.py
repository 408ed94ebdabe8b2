"""Each rule finds what it is named for, and nothing on an ordinary day."""

from __future__ import annotations

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from reliable_effects.clock import DbNow
from reliable_effects.outbox.heartbeat import CLAIMS
from reliable_effects.outbox.models import Attempt, Sweep
from reliable_effects.reconcile.models import Tier, Walk
from reliable_effects.watch import failing, rules, status
from reliable_effects.watch.rules import needs_a_person
from tests.idempotency.records import an_uncertain_record
from tests.outbox.conftest import (
    pending_delivery,
    poisoned_delivery,
    running_delivery,
    succeeded_delivery,
    uncertain_delivery,
)
from tests.schedule.conftest import blocked_job, due_job, missed_job
from tests.watch.conftest import DAY, HOUR, MINUTE, ago, all_have_swept

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _all_have_swept():
    all_have_swept()
    Sweep.objects.create(name=CLAIMS + "effects")


def found() -> list[tuple[str, str]]:
    facts = status.of("default")
    return [(name, f.subject) for name in rules.rules for f in rules.ask(name, facts)]


def spoil_sweep(**columns) -> None:
    Sweep.objects.filter(name="rescue").update(**columns)


def a_walk(**columns) -> None:
    """The last whole walk over what is owed to the shop's one effect with an owed query."""
    facts = {"effect": "shop.charge_card", "tier": Tier.ALL, "ended_at": DbNow(), **columns}
    Walk.objects.create(**facts)


@pytest.mark.parametrize(
    ("spoil", "rule", "subject"),
    [
        (lambda: spoil_sweep(ran_at=ago(HOUR)), "sweep", "rescue"),
        (
            lambda: spoil_sweep(truncated_runs=3, truncated_since=ago(HOUR)),
            "sweep_cut_short",
            "rescue",
        ),
        (
            lambda: spoil_sweep(rows_since=ago(9 * DAY), empty_since=ago(2 * HOUR)),
            "sweep_silent",
            "rescue",
        ),
        (lambda: pending_delivery(queue="far", due_at=ago(2 * MINUTE)), "unconsumed", "far"),
        (lambda: pending_delivery(due_at=ago(6 * MINUTE)), "late", "effects"),
        (lambda: poisoned_delivery("shop.wrap"), "poisoned", "shop.wrap"),
        (lambda: uncertain_delivery("shop.wrap", look_at=None), "uncertain", "shop.wrap"),
        (lambda: due_job(ago=HOUR), "jobs", "reliable_effects.ScheduledJob"),
        (blocked_job, "jobs", "reliable_effects.ScheduledJob"),
        (missed_job, "jobs", "reliable_effects.ScheduledJob"),
        (lambda: a_walk(found={"unaccounted": 3}), "unaccounted", "shop.charge_card"),
        (lambda: a_walk(found={"contradiction": 1}), "contradiction", "shop.charge_card"),
        (lambda: a_walk(problem="DoesNotExist: x"), "owed_query", "shop.charge_card"),
        (lambda: a_walk(found={"unreadable": 1}), "owed_query", "shop.charge_card"),
        (lambda: a_walk(ended_at=ago(73 * HOUR)), "walk", "shop.charge_card all"),
        *(
            (lambda spoil=spoil: a_walk(tier=Tier.RECENT, **spoil), rule, "shop.charge_card")
            for spoil, rule in (
                ({"found": {"unaccounted": 3}}, "unaccounted"),
                ({"is_under_way": True, "promised": 3}, "unaccounted"),
                ({"found": {"contradiction": 1}}, "contradiction"),
                ({"found": {"unreadable": 1}}, "owed_query"),
                ({"problem": "DoesNotExist: x"}, "owed_query"),
            )
        ),
        (
            lambda: a_walk(tier=Tier.RECENT, ended_at=ago(4 * HOUR)),
            "walk",
            "shop.charge_card recent",
        ),
        (
            lambda: a_walk(ended_at=ago(9 * DAY), is_under_way=True, began_at=ago(8 * DAY)),
            "walk",
            "shop.charge_card all",
        ),
    ],
)
def test_what_is_wrong_is_found_by_its_rule(spoil, rule, subject):
    """One trouble, one alert: what follows from it is not told beside it."""
    spoil()

    assert found() == [(rule, subject)]


def test_an_ordinary_day_has_no_findings():
    """Work that waits its turn, runs or has ended needs nobody."""
    pending_delivery()
    uncertain_delivery()
    running_delivery()
    succeeded_delivery()

    assert found() == []


@pytest.mark.parametrize(
    "walk",
    [
        {"ended_at": None},  # of an effect that was declared since
        {"ended_at": None, "is_under_way": True, "began_at": ago(9 * DAY)},  # and is owed much
        {"ended_at": ago(9 * DAY), "is_under_way": True, "began_at": ago(MINUTE)},  # after a stop
        {"ended_at": ago(2 * DAY)},
        {"effect": "shop.gone", "ended_at": ago(9 * DAY)},  # nobody asks for it any more
    ],
)
def test_a_walk_that_is_new_or_goes_on_is_no_finding(walk):
    """A first deploy, or a quiet week of a staging machine, wakes nobody."""
    a_walk(**walk)

    assert found() == []


def test_a_walk_that_waits_for_its_turn_after_a_long_stop_is_no_finding():
    """The sweep is at the walks of other effects, and goes on in ten seconds."""
    a_walk(ended_at=ago(9 * DAY))
    Sweep.objects.filter(name="reconcile_all").update(truncated=True, truncated_runs=1)

    assert found() == []


def test_what_both_walks_promised_is_one_finding():
    """The hourly one has done today's share of it."""
    a_walk(found={"unaccounted": 3, "contradiction": 2})
    a_walk(tier=Tier.RECENT, found={"unaccounted": 1, "contradiction": 1})

    assert sorted(needs_a_person([status.of("default")])) == [
        "2 shop.charge_card on default succeeded, and are still owed",
        "4 owed to shop.charge_card on default had been promised by nobody",
    ]


@pytest.mark.parametrize(("age", "is_found"), [(HOUR, False), (25 * HOUR, True)])
def test_few_pills_are_told_of_when_they_have_lain_long(settings, age, is_found):
    """Where a pill an hour is nothing new, one of yesterday is still somebody's order."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "ALERT_POISON_COUNT": 5}
    poisoned_delivery("shop.wrap", finished_at=ago(age))

    assert found() == [("poisoned", "shop.wrap")] * is_found


def test_pills_of_one_effect_are_one_finding():
    """Its reasons are in the text."""
    poisoned_delivery("shop.wrap")
    poisoned_delivery("shop.wrap")
    poisoned_delivery("shop.wrap", reason="REFUSED")

    assert needs_a_person([status.of("default")]) == [
        "3 poisoned shop.wrap ATTEMPTS_SPENT 2, REFUSED 1 on default"
    ]


# An effect that fails more than it used to


def failed(times: int, of: str = "shop.wrap", *, ago_=MINUTE, outcome="failed") -> None:
    row = pending_delivery(of)
    Attempt.objects.bulk_create(
        Attempt(delivery=row, number=1, outcome=outcome, ended_at=ago(ago_)) for _ in range(times)
    )


def succeeded(times: int, of: str = "shop.wrap", *, ago_=MINUTE, attempts: int = 1) -> None:
    for _ in range(times):
        succeeded_delivery(of, finished_at=ago(ago_), attempts=attempts)


def is_failing() -> bool:
    return ("failing", "shop.wrap") in found()


def test_an_effect_whose_failures_jumped_is_found():
    """Most will succeed at the next attempt, so nothing else tells of it yet."""
    succeeded(20, ago_=HOUR)
    succeeded(10)

    failed(10)

    assert is_failing()
    assert "50% of the runs of shop.wrap on default fail (10 of 20 lately; 0% is usual)" in (
        needs_a_person([status.of("default")])
    )


def test_what_always_fails_as_often_is_no_jump():
    """Whoever asks a slow partner until it is ready has got used to it."""
    succeeded(20, ago_=HOUR, attempts=2)
    succeeded(10)

    failed(10)

    assert not is_failing()


@pytest.mark.parametrize(
    "fail",
    [
        lambda: failed(9),  # too few to say
        lambda: failed(10, ago_=HOUR),  # it is over
        lambda: failed(10, outcome="skipped"),  # that is no failure
        lambda: failed(10, of="shop.charge_card"),  # another effect's
    ],
)
def test_a_few_old_or_other_failures_are_none(fail):
    """A percentage of three runs wakes nobody."""
    succeeded(10)

    fail()

    assert not is_failing()


def test_where_nothing_ends_well_the_failures_stay_news():
    """What a partner that is away altogether makes usual is nothing."""
    failed(30)

    assert is_failing()


def test_more_attempts_than_are_read_make_the_window_shorter(monkeypatch):
    """Good ends from before the first failure that was read would make it look well."""
    monkeypatch.setattr(failing, "_ATTEMPTS", 10)
    succeeded(50, ago_=10 * MINUTE)
    failed(10, ago_=9 * MINUTE)
    failed(10, ago_=MINUTE)

    [effect] = failing.effects("default")

    assert (effect.failures, effect.runs) == (10, 10)


def test_nothing_is_counted_over_a_whole_table():
    """It is asked every minute, on tables of millions."""
    failed(10)
    succeeded(3)

    with CaptureQueriesContext(connection) as queries:
        for name in rules.rules:
            rules.ask(name, status.of("default"))

    asked = [q["sql"] for q in queries if "reliable_effects_" in q["sql"]]
    assert [sql for sql in asked if "LIMIT" not in sql] == []


@pytest.mark.django_db(transaction=True)  # ANALYZE TABLE commits
@pytest.mark.parametrize("table", ["attempt", "delivery"])
def test_failures_are_read_from_the_end_of_an_index(table):
    """Else the rule reads all that has ever ended."""
    if connection.vendor == "sqlite":
        pytest.skip("its plans name no costs")
    rows = [
        {"effect": "shop.wrap", "finished_at": ago(DAY) + MINUTE / 60 * (i % 600)}
        for i in range(3000)
    ]
    _many_succeeded(rows)
    failed(3000)
    with connection.cursor() as cursor:
        analyze = "ANALYZE TABLE" if connection.vendor == "mysql" else "ANALYZE"
        for name in ("delivery", "attempt"):
            cursor.execute(f"{analyze} reliable_effects_{name}")

    with CaptureQueriesContext(connection) as queries:
        failing.effects("default")

    plans = [_plan(q["sql"]) for q in queries if f"FROM {_quoted(table)}" in q["sql"]]
    assert plans
    for plan in plans:
        assert "Seq Scan" not in plan
        assert '"access_type": "ALL"' not in plan
        assert "filesort" not in plan


def _many_succeeded(rows) -> None:
    from uuid import uuid4  # noqa: PLC0415

    from reliable_effects.outbox.models import Delivery  # noqa: PLC0415
    from reliable_effects.outbox.states import State  # noqa: PLC0415

    first = succeeded_delivery()
    Delivery.objects.bulk_create(
        Delivery(
            event_id=first.event_id, key=uuid4(), queue="effects", state=State.SUCCEEDED,
            attempts=1, due_at=DbNow(), **row,
        )
        for row in rows
    )  # fmt: skip


def _quoted(table: str) -> str:
    return connection.ops.quote_name(f"reliable_effects_{table}")


def _plan(sql: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            f"EXPLAIN (FORMAT JSON) {sql}"
            if connection.vendor == "postgresql"
            else f"EXPLAIN FORMAT=JSON {sql}"
        )
        return str(cursor.fetchall())


# Other databases


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_database_that_cannot_be_read_is_told_of_by_the_first_that_can(settings):
    """Nobody can keep an alert in a database that is away."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "DATABASES": ["other", "default"]}
    table = connections["other"].ops.quote_name(Sweep._meta.db_table)
    facts = status.of("default")
    with connections["other"].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
    try:
        [finding] = rules.ask("database", facts)
    finally:
        with connections["other"].cursor() as cursor:
            cursor.execute(f"ALTER TABLE away RENAME TO {table}")

    assert finding.subject == "other"
    assert finding.text in (
        f"database other cannot be read ({kind}): see the log"
        for kind in ("OperationalError", "ProgrammingError")  # the server's own words stay out
    )
    assert rules.ask("database", facts) == []


def test_an_idempotent_request_that_nobody_can_answer_for_is_told_of():
    """Its client is told to ask a person; somebody has to know that."""
    assert rules.ask("uncertain_request", status.of("default")) == []
    for key in ("one", "two"):
        an_uncertain_record(key, operation="POST pay/")

    [finding] = rules.ask("uncertain_request", status.of("default"))

    assert finding.subject == "POST pay/"
    assert "2 idempotent requests of POST pay/ on default are uncertain" in finding.text
