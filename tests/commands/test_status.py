"""effects_status tells how the outbox stands, and what needs a person."""

from __future__ import annotations

import io
import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from reliable_effects.clock import DbNow
from reliable_effects.management.commands import effects_status
from reliable_effects.outbox import sweeps
from reliable_effects.outbox.heartbeat import CLAIMS
from reliable_effects.outbox.models import Sweep
from reliable_effects.reconcile.models import Tier, Walk
from reliable_effects.watch import rules, status
from tests.outbox.conftest import (
    expired_delivery,
    pending_delivery,
    poisoned_delivery,
    running_delivery,
    succeeded_delivery,
    uncertain_delivery,
)
from tests.schedule.conftest import missed_job
from tests.watch.conftest import hangs

pytestmark = pytest.mark.django_db


def ago(**span):
    return DbNow() - timedelta(**span)


@pytest.fixture
def swept():
    """Every sweep has just run, and somebody consumes the queues."""
    for name in (*sweeps.periods(), CLAIMS + "effects", CLAIMS + "payments"):
        Sweep.objects.create(name=name)


def told(*arguments) -> dict:
    out = io.StringIO()
    call_command("effects_status", "--json", *arguments, stdout=out)
    return json.loads(out.getvalue())


def text(*arguments) -> str:
    out = io.StringIO()
    call_command("effects_status", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def exit_code(*arguments) -> int:
    try:
        text("--check", *arguments)
    except SystemExit as ended:
        return ended.code
    return 0


def queue(name="effects") -> dict:
    (database,) = told()["databases"]
    (found,) = (queue for queue in database["queues"] if queue["name"] == name)
    return found


@pytest.mark.usefixtures("swept")
def test_each_queue_says_what_is_due_what_is_later_and_what_runs():
    """The numbers one asks for first."""
    pending_delivery(due_at=ago(seconds=40))
    pending_delivery(attempts=2)
    uncertain_delivery()
    later = {"due_at": DbNow() + timedelta(hours=1), "look_at": DbNow() + timedelta(hours=1)}
    pending_delivery(attempts=1, **later)
    running_delivery()
    succeeded_delivery()
    pending_delivery(queue="payments")

    effects = queue()

    counts = {key: effects[key] for key in ("due", "later", "running", "retrying")}
    assert counts == {"due": 3, "later": 1, "running": 1, "retrying": 2}
    assert 40 <= effects["oldest_due"] < 600
    assert queue("payments")["due"] == 1


@pytest.mark.usefixtures("swept")
def test_what_waits_for_a_person_is_counted_by_effect_and_reason():
    """So that one knows where to begin."""
    poisoned_delivery("shop.wrap")
    poisoned_delivery("shop.wrap")
    poisoned_delivery("shop.charge_card", reason="REFUSED")
    uncertain_delivery("shop.charge_card", look_at=None)
    uncertain_delivery("shop.charge_card")  # this one is verified by a worker

    (database,) = told()["databases"]

    assert sorted(map(tuple, map(dict.values, database["poisoned"]))) == [
        ("shop.charge_card", "REFUSED", 1),
        ("shop.wrap", "ATTEMPTS_SPENT", 2),
    ]
    assert database["uncertain"] == [{"effect": "shop.charge_card", "count": 1}]


@pytest.mark.usefixtures("swept")
def test_what_was_set_aside_is_listed_with_its_age():
    """A pill of three months is another matter than one of this morning."""
    poisoned_delivery("shop.wrap", finished_at=ago(days=90))
    poisoned_delivery("shop.wrap")

    [line] = [line.split() for line in text().splitlines() if "poisoned shop.wrap  " in line]
    assert line == ["poisoned", "shop.wrap", "2", "90", "days", "ATTEMPTS_SPENT"]


@pytest.mark.usefixtures("swept")
def test_a_healthy_outbox_needs_nobody():
    """Work that waits its turn is no alarm."""
    pending_delivery()
    running_delivery()
    succeeded_delivery()

    assert exit_code() == 0
    assert "nothing needs a person" in text()


@pytest.mark.usefixtures("swept")
@pytest.mark.parametrize(
    ("spoil", "naming"),
    [
        (lambda: poisoned_delivery("shop.wrap"), "1 poisoned shop.wrap ATTEMPTS_SPENT"),
        (lambda: uncertain_delivery("shop.wrap", look_at=None), "1 uncertain shop.wrap"),
        (lambda: pending_delivery(due_at=ago(minutes=6)), "6 min late"),
        (
            lambda: pending_delivery(queue="exotic", due_at=ago(minutes=2)),
            "nobody consumes the queue exotic",
        ),
        (
            lambda: Sweep.objects.filter(name="rescue").update(ran_at=ago(minutes=2)),
            "sweep rescue on default last ran 2 min ago",
        ),
        (lambda: Sweep.objects.filter(name="prune").delete(), "sweep prune on default has never"),
    ],
)
def test_what_needs_a_person_is_named_and_fails_the_check(spoil, naming):
    """A monitor goes by the exit code, a person by the words."""
    spoil()

    assert exit_code() == 1
    assert naming in text()
    assert any(naming in line for line in told()["needs_a_person"])


def test_without_check_the_exit_code_says_nothing():
    """Looking is not failing: here nothing has ever swept."""
    assert "STALE" in text()


@pytest.mark.usefixtures("swept")
def test_how_late_is_too_late_can_be_said():
    """Some queues have a minute, some a day."""
    pending_delivery(due_at=ago(minutes=6))

    assert exit_code("--late-after", "3600") == 0


@pytest.mark.usefixtures("swept")
def test_a_queue_that_was_claimed_from_lately_is_consumed():
    """A backlog is no missing worker."""
    pending_delivery(due_at=ago(minutes=3))

    assert queue()["is_consumed"]


@pytest.mark.usefixtures("swept")
def test_a_lease_that_ended_is_told_of():
    """A worker died; rescue will see to it."""
    expired_delivery()

    assert "1 running past their lease" in text()


def test_the_relay_is_expected_only_where_hints_are_sent(settings):
    """Without a broker effects_worker looks for itself."""
    for name in sweeps.periods().keys() - {sweeps.RELAY}:
        Sweep.objects.create(name=name)
    assert exit_code() == 0

    settings.RELIABLE_EFFECTS = {"TRANSPORT": "builtins.print"}

    assert told()["transport"] == "builtins.print"
    assert any("sweep relay" in line for line in told()["needs_a_person"])


@pytest.mark.usefixtures("swept")
def test_a_transport_that_is_not_there_is_named(settings):
    """The command still answers: this is when one needs it."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "no.such.transport"}

    assert exit_code() == 1
    assert "no.such.transport" in text()


@pytest.mark.usefixtures("swept")
@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_database_without_our_tables_does_not_hide_the_others(settings):
    """One bad database never stops the view of the rest."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "DATABASES": ["other", "default"]}
    with connections["other"].cursor() as cursor:
        cursor.execute("ALTER TABLE reliable_effects_sweep RENAME TO moved_away")
        try:
            answer = told()
        finally:
            cursor.execute("ALTER TABLE moved_away RENAME TO reliable_effects_sweep")

    other, default = answer["databases"]
    assert "reliable_effects_sweep" in other["problem"]
    assert default["queues"]
    assert any("database other cannot be read" in line for line in answer["needs_a_person"])


@pytest.mark.usefixtures("swept")
@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_database_that_hangs_does_not_hide_the_others(settings, monkeypatch):
    """A monitor gives up before it is told anything."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "DATABASES": ["other", "default"]}
    monkeypatch.setattr(effects_status, "_PATIENCE", 2.0)  # the other one answers within it
    monkeypatch.setattr(rules, "_PATIENCE", 0.1)
    for lock in hangs("other"):
        answer, code = told(), exit_code()
        lock.close()
        rules._others.of("other").thread.join(20)

    other, default = answer["databases"]
    assert (other["problem"], code) == ("no answer in time", 1)
    assert default["queues"]


@pytest.mark.usefixtures("swept")
def test_no_question_reads_a_whole_table():
    """It is run when the tables are at their largest."""
    pending_delivery()

    with CaptureQueriesContext(connection) as queries:
        text()

    asked = [query["sql"] for query in queries if "reliable_effects_" in query["sql"]]
    assert asked
    assert [sql for sql in asked if "LIMIT" not in sql] == []


@pytest.mark.usefixtures("swept")
def test_a_count_that_was_cut_says_so(monkeypatch):
    """10,000 and at least 10,000 are different facts."""
    monkeypatch.setattr(status, "COUNT_AT_MOST", 2)
    for _ in range(3):
        pending_delivery()
        poisoned_delivery("shop.wrap")

    assert queue()["due"] == 2
    assert "2+ poisoned shop.wrap" in text()


@pytest.mark.usefixtures("swept")
def test_what_the_last_walk_found_is_told():
    """Beside the sweeps: whether what is owed was asked, and what nobody had promised."""
    Walk.objects.create(
        effect="shop.charge_card", tier=Tier.ALL, ended_at=ago(hours=3), found={"unaccounted": 7}
    )

    (line,) = [line for line in text().splitlines() if "owed to shop.charge_card  " in line]

    assert line.split() == ["owed", "to", "shop.charge_card", "3", "h", "7", "0"]


@pytest.mark.usefixtures("swept")
def test_the_walk_over_what_is_recent_has_a_line_of_its_own():
    """It says what it found, and why it came no further."""
    Walk.objects.create(
        effect="shop.charge_card", tier=Tier.RECENT, ended_at=ago(hours=3), problem="Boom: x"
    )

    (line,) = [line for line in text().splitlines() if "charge_card, recent" in line]

    assert line.split()[-1] == "FAILED"


@pytest.mark.usefixtures("swept")
def test_jobs_that_did_not_become_events_are_told():
    """Late, blocked and missed ones, of each table of jobs."""
    missed_job()

    (line,) = [line for line in text().splitlines() if "reliable_effects.ScheduledJob  " in line]

    assert line.split() == ["reliable_effects.ScheduledJob", "0", "0", "1"]
    assert "jobs of reliable_effects.ScheduledJob on default: 1 missed" in text()


# One delivery


def test_of_one_delivery_it_says_why_it_is_not_running():
    """Where there is no admin at hand."""
    row = pending_delivery("shop.wrap", due_at=ago(hours=-1))

    [answer] = told("--delivery", str(row.pk))

    assert (answer["delivery"], answer["effect"], answer["kind"]) == (
        row.pk,
        "shop.wrap",
        "not due",
    )
    assert f"{row} on default: It is not due until " in text("--delivery", str(row.pk))


def test_of_a_delivery_that_is_not_there_it_says_that():
    """Not that all is well."""
    with pytest.raises(CommandError, match="No delivery has the id 4711"):
        text("--delivery", "4711")
