"""The doctor finds what checks cannot see, says what to do, and ends with 1 where something is wrong."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import kombu
import pytest
from celery import Celery, _state
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.migrations.loader import MigrationLoader

from reliable_effects import ONCE
from reliable_effects.clock import moved
from reliable_effects.effects.registry import registry
from reliable_effects.outbox.heartbeat import CLAIMS
from reliable_effects.outbox.models import Delivery, Sweep
from reliable_effects.outbox.payloads import PayloadEdit
from reliable_effects.outbox.states import Notes
from reliable_effects.schedule.models import ScheduledJob
from reliable_effects.watch import doctor
from tests.outbox.conftest import (
    an_event,
    make_effect,  # noqa: F401  # a fixture
    pending_delivery,
    poisoned_delivery,
    succeeded_delivery,
)
from tests.shop.events import order_seen
from tests.shop.models import Order
from tests.watch.conftest import HOUR, MINUTE, ago, all_have_swept, hangs

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _a_healthy_project():
    all_have_swept()
    for queue in registry.queues():
        Sweep.objects.create(name=CLAIMS + queue)


def ask(*arguments: str) -> tuple[int, list[dict]]:
    out = io.StringIO()
    try:
        call_command("effects_doctor", "--json", *arguments, stdout=out, stderr=io.StringIO())
    except SystemExit as ended:
        return ended.code, json.loads(out.getvalue())
    return 0, json.loads(out.getvalue())


def wrong(severity: str = "wrong") -> list[str]:
    return [f"{f['about']}: {f['fact']}" for f in ask()[1] if f["severity"] == severity]


def test_a_healthy_project_is_told_its_facts_and_ends_with_0():
    """What is fine is told too: a question that was not asked looks like an answer."""
    code, facts = ask()

    told = " ".join(fact["fact"] for fact in facts)
    assert (code, wrong()) == (0, [])
    for fact in ("its clock and ours agree", "every migration is applied", "every sweep has run",
                 "every effect in its rows is known", "last claimed from", "Django "):  # fmt: skip
        assert fact in told


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_database_that_never_answers_keeps_no_fact_of_another(settings, monkeypatch):
    """Whoever runs the doctor has a reason, and that may be it."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "DATABASES": ["other", "default"]}
    monkeypatch.setattr(doctor, "_PATIENCE", 2.0)  # the other one answers within it
    for _ in hangs("other"):
        told = wrong()
        fine = wrong("fine")

    assert told == ["database other: no answer in time"]
    assert "database default: every sweep has run lately" in fine


def test_people_read_what_is_wrong_and_what_to_do():
    """At night one wants the next step, not a number."""
    Sweep.objects.filter(name="rescue").update(ran_at=ago(HOUR))
    out = io.StringIO()

    with pytest.raises(SystemExit) as ended:
        call_command("effects_doctor", stdout=out, no_color=True)

    assert ended.value.code == 1
    assert "wrong     database default: sweep rescue on default last ran 1 h ago" in (
        out.getvalue().replace("60 min", "1 h")
    )
    assert "Start a Celery worker or `manage.py effects_worker`" in out.getvalue()


# Databases


def test_clocks_that_differ_are_told_of():
    """Nothing goes by ours, but people compare logs."""
    with moved(timedelta(seconds=90)):
        assert any("90.0 s apart" in fact for fact in wrong("doubtful"))


@pytest.mark.skipif(connection.vendor == "sqlite", reason="it has one isolation level")
def test_an_isolation_level_of_the_server_is_told_of():
    """A setting of None leaves it to the server, which no check asks."""
    name = "default_transaction_isolation"
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        else:
            cursor.execute(f"SET SESSION {name} = 'repeatable read'")
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    try:
        assert any("its isolation level is repeatable read" in fact for fact in wrong())
    finally:
        with connection.cursor() as cursor:
            if connection.vendor == "mysql":
                cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            else:
                cursor.execute(f"RESET {name}")


test_an_isolation_level_of_the_server_is_told_of = pytest.mark.django_db(transaction=True)(
    test_an_isolation_level_of_the_server_is_told_of
)


def test_migrations_that_did_not_run_are_named():
    """A deploy that forgot one alias meets it with the first row."""
    [(_, last)] = MigrationLoader(connection).graph.leaf_nodes("reliable_effects")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE name = %s", [last])

    assert f"database default: not migrated: {last}" in wrong()


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_database_that_cannot_be_read_hides_nothing_of_the_others(settings, monkeypatch):
    """It is why one looks; this process may not even open it."""
    connections["other"].close()
    place = {"NAME": "/nowhere/at/all"} if connection.vendor == "sqlite" else {"PORT": 1}
    for key, value in place.items():
        monkeypatch.setitem(connections["other"].settings_dict, key, value)
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "DATABASES": ["other", "default"]}

    code, facts = ask()

    assert code == 1
    about = {fact["about"] for fact in facts if fact["severity"] == "fine"}
    assert "database default" in about
    assert any(f["about"] == "database other" and f["severity"] == "wrong" for f in facts)


# Queues without a broker


def test_a_queue_that_nobody_claims_from_is_named():
    """No broker need be asked for it."""
    pending_delivery(queue="far", due_at=ago(2 * MINUTE))

    assert "queue far: nobody consumes it; never claimed from" in wrong()


# Rows


def test_a_name_that_this_release_lacks_is_named_with_the_alias_to_write():
    """In a day it is a poison pill."""
    pending_delivery("shop.renamed")
    poisoned_delivery("shop.gone")

    code, facts = ask()

    [waiting] = [fact for fact in facts if "shop.renamed" in fact["fact"]]
    [poisoned] = [fact for fact in facts if "shop.gone" in fact["fact"]]
    assert code == 1
    assert (waiting["severity"], poisoned["severity"]) == ("wrong", "doubtful")
    assert 'aliases=["shop.renamed"]' in waiting["next_step"]


def owing(effect, times: int = 6, **columns) -> list[Delivery]:
    """Deliveries of *effect* under the keys that it computes now."""
    rows = []
    for _ in range(times):
        event = an_event(Order.objects.create())
        order = Order.objects.get(pk=event.subject_pk)
        key = effect.key_of(event.id, event.subject_pk, order)
        rows.append(succeeded_delivery(effect.name, event=event, key=key, **columns))
    return rows


@pytest.fixture
def charge(make_effect):  # noqa: F811  # the fixture
    effect = make_effect(name="test.charge")
    effect.owed(since="placed_at", grace=HOUR, debt=ONCE)(Order.objects.all)
    return effect


def test_keys_of_debts_are_compared_with_what_this_release_computes(charge):
    """As they are, a debt that is promised again finds its row."""
    owing(charge)

    _, facts = ask()

    assert any("6 keys of test.charge are as this release" in fact["fact"] for fact in facts)


def test_an_alias_that_was_written_in_front_is_found_before_the_deploy(charge, monkeypatch):
    """The oldest name makes the key: each debt would be promised again, and a card charged twice."""
    owing(charge)
    renamed = replace(charge, aliases=("test.older", *charge.aliases))
    monkeypatch.setitem(registry._effects, charge.name, renamed)

    assert any("6 of 6 keys of test.charge are not those" in fact for fact in wrong())


def test_deliveries_from_before_an_owed_query_keep_their_keys(charge):
    """Reconcile adopts them: it is no other debt."""
    from reliable_effects.effects.keys import delivery_key  # noqa: PLC0415

    event = an_event(Order.objects.create())
    succeeded_delivery(charge.name, event=event, key=delivery_key(event.id, charge.identity))

    _, facts = ask()

    assert wrong() == []
    assert any("1 are from before its owed query" in fact["fact"] for fact in facts)


@pytest.mark.parametrize(("changed", "is_wrong"), [(2, False), (6, True)])
def test_a_debt_that_depends_on_its_subject_may_have_changed_since(
    make_effect,  # noqa: F811  # the fixture
    changed,
    is_wrong,
):
    """Some differ because their subject has changed; where all do, it is debt= that has."""
    effect = make_effect(name="test.invoice")
    effect.owed(since="placed_at", grace=HOUR, debt=lambda order: order.status)(Order.objects.all)
    rows = owing(effect)
    pks = [row.event.subject_pk for row in rows[:changed]]
    Order.objects.filter(pk__in=pks).update(status="paid")

    assert bool(wrong()) == is_wrong


def test_a_debt_function_that_raises_is_named(make_effect):  # noqa: F811  # the fixture
    """Emit will meet it, too."""
    effect = make_effect(name="test.broken")
    effect.owed(since="placed_at", grace=HOUR, debt=lambda _: 1 / 0)(Order.objects.all)
    succeeded_delivery(effect.name)

    assert any("debt= of test.broken: ZeroDivisionError" in fact for fact in wrong())


# The broker


@pytest.fixture
def project(settings) -> Callable[..., Celery]:
    """`project(url)`: this process has an app with that broker, and sends hints by it."""
    current, default = _state._tls.current_app, _state.default_app
    made = []

    def use(url: str, **conf) -> Celery:
        settings.RELIABLE_EFFECTS = {"TRANSPORT": "celery"}
        app = Celery("project", broker=url)
        app.conf.update(conf)
        made.append(app)
        return app

    yield use
    for app in made:
        app.close()
    _state._tls.current_app, _state.default_app = current, default


@pytest.fixture
def consumed(rabbitmq_server):
    """Somebody consumes every queue of RabbitMQ's."""
    with kombu.Connection(rabbitmq_server.url) as consumer:
        channel = consumer.default_channel
        for queue in registry.queues():
            channel.queue_declare(queue, auto_delete=False)
            channel.basic_consume(queue)
        yield
    with kombu.Connection(rabbitmq_server.url) as again:
        for queue in registry.queues():
            again.default_channel.queue_delete(queue)


@pytest.mark.one_database
def test_redis_says_what_it_drops_and_when_it_gives_back(redis_server, project):
    """Two settings of the server's that no setting of ours shows."""
    project(redis_server.url, broker_transport_options={"visibility_timeout": 43200})

    code, facts = ask()

    told = " ".join(fact["fact"] for fact in facts)
    assert code == 0
    assert "redis " in told
    assert "maxmemory-policy is noeviction" in told
    assert "43200 s (visibility_timeout)" in told
    assert "last claimed from 0 s ago, 0 messages" in told


@pytest.mark.one_database
def test_a_redis_that_may_drop_messages_is_doubtful(redis_server, project):
    """A cache's settings lose a queue's messages."""
    project(redis_server.url)
    redis_server._ask(b"CONFIG SET maxmemory-policy allkeys-lru")
    redis_server._ask(b"CONFIG SET maxmemory 1gb")
    try:
        facts = wrong("doubtful")
    finally:
        redis_server._ask(b"CONFIG SET maxmemory-policy noeviction")

    assert any("maxmemory-policy is allkeys-lru" in fact for fact in facts)


@pytest.mark.one_database
@pytest.mark.usefixtures("consumed")
def test_rabbitmq_says_who_consumes_each_queue(rabbitmq_server, project):
    """No setting shows whether a worker was started with -Q."""
    project(rabbitmq_server.url)

    code, facts = ask()

    told = " ".join(fact["fact"] for fact in facts)
    assert code == 0
    assert "RabbitMQ 3." in told or "RabbitMQ 4." in told
    assert "1 consumers, 0 messages, last claimed from 0 s ago" in told
    assert "it can confirm what is published" in told


@pytest.mark.one_database
@pytest.mark.usefixtures("consumed")
def test_a_queue_without_a_consumer_is_wrong_unless_somebody_claims(rabbitmq_server, project):
    """effects_worker consumes no queue of a broker's, and does the work."""
    project(rabbitmq_server.url)
    pending_delivery(queue="nobodys")
    pending_delivery(queue="theirs")
    Sweep.objects.create(name=CLAIMS + "theirs")

    assert "queue nobodys: the broker has no such queue; never claimed from" in wrong()
    assert any(fact.startswith("queue theirs: no Celery worker") for fact in wrong("doubtful"))


@pytest.mark.one_database
@pytest.mark.parametrize("server", ["redis_server", "rabbitmq_server"])
def test_a_broker_that_is_full_is_told_of(request, project, server):
    """It answers all questions; only what is published never arrives."""
    broker = request.getfixturevalue(server)
    project(broker.url)
    broker.fill()

    facts = wrong()

    assert "broker: it takes no messages: its memory is full, or its disk" in facts


@pytest.mark.one_database
def test_a_broker_that_hangs_is_told_of_within_seconds(broker, project):
    """The doctor is asked when things hang."""
    project(broker.url)
    broker.freeze()

    facts = wrong()

    assert any("did not answer all we asked" in fact for fact in facts)


# Payloads


def unfit(times: int = 1, *, make=pending_delivery, payload=None, version=1) -> list[Delivery]:
    event = {"name": "shop.order_placed", "version": version}
    return [make("shop.send_receipt", event=event, payload=payload) for _ in range(times)]


FAR = datetime(2099, 1, 1, tzinfo=UTC)


def payloads() -> tuple[int, list[tuple]]:
    code, groups = ask("--payloads")
    return code, [(g["what"], g["name"], g["problem"], g["count"]) for g in groups]


def test_rows_that_this_release_can_carry_out_are_silent():
    """Also those that have ended, whatever they hold."""
    unfit(payload={"coupon": "X"})
    unfit(make=succeeded_delivery, payload={"nothing": 1})

    assert payloads() == (0, [])


def test_rows_that_cannot_be_read_are_grouped_with_their_problem(monkeypatch):
    """Ten thousand rows have a cause or two."""
    monkeypatch.setattr("reliable_effects.watch.doctor.payloads._CHUNK", 2)
    rows = unfit(7, payload={"coupon": 5})
    unfit(make=poisoned_delivery, payload={"coupon": "X"}, version=9)
    pending_delivery("shop.renamed")

    code, groups = payloads()

    assert code == 1
    assert groups == [
        ("delivery", "shop.send_receipt", "version 1, coupon: str was declared", 7),
        ("delivery", "shop.renamed", "no such name in this release", 1),
        ("delivery", "shop.send_receipt",
         "version 9, as a whole: this release knows 1", 1),
    ]  # fmt: skip
    assert ask("--payloads")[1][0]["ids"] == [row.pk for row in rows[:5]]


def test_a_row_whose_event_is_gone_is_told_of():
    """It would be set aside as unreadable."""
    [row] = unfit()
    row.event.delete()

    assert payloads() == (1, [
        ("delivery", "shop.send_receipt", "its event is not in the database", 1)
    ])  # fmt: skip


def test_an_edited_payload_is_read_in_the_place_of_the_events():
    """It is what the new release will have to carry out."""
    mended, broken, lost = (unfit()[0] for _ in range(3))
    for row, payload in ((mended, {"coupon": "X"}), (broken, {"coupon": [1]})):
        edit = PayloadEdit.objects.create(
            delivery=row, event_id=row.event_id, payload=payload, version=1, generation=0,
            by="ada", why="x",
        )  # fmt: skip
        Delivery.objects.filter(pk=row.pk).update(notes={Notes.EDIT: edit.pk})
    Delivery.objects.filter(pk=lost.pk).update(notes={Notes.EDIT: 4711})

    _, groups = payloads()

    told = {problem for _, _, problem, _ in groups}
    assert "its edited payload is not in the database" in told
    assert sum(count for *_, count in groups) == 2


def test_values_are_in_no_problem():
    """They are many, so no two rows would be alike; and they may be secret."""
    for secret in ("secret 1", "secret; '2'"):
        unfit(payload={"coupon": [secret]})

    assert [problem for _, _, problem, _ in payloads()[1]] == [
        "version 1, coupon: str was declared"
    ]


def test_another_table_is_another_function(monkeypatch):
    """Scheduled jobs name an event, and wait for longer than a deploy."""
    from reliable_effects.watch.doctor import payloads as module  # noqa: PLC0415

    def jobs(using):
        for name in ("shop.order_placed", "shop.gone"):
            codec = module.of_event(name)
            yield module.Stored("scheduled job", 7, name, codec, 1, {"coupon": using})

    monkeypatch.setattr(module, "SOURCES", [*module.SOURCES, jobs])

    assert payloads() == (1, [("scheduled job", "shop.gone", "no such name in this release", 1)])


def test_jobs_about_a_model_that_was_renamed_are_listed():
    """They would be blocked when their time comes; subject_aliases= finds them."""
    with transaction.atomic():
        for key in ("known", "renamed", "gone"):
            order_seen.schedule(Order.objects.create(), at=FAR, key=key)
    ScheduledJob.objects.by_key("renamed").update(subject_model="shop.purchase")
    ScheduledJob.objects.by_key("gone").update(event="shop.gone")

    code, groups = payloads()
    assert code == 1
    assert sorted(groups) == [
        ("scheduled job", name, "no such name in this release", 1)
        for name in ("shop.gone", "shop.order_seen about shop.purchase")
    ]


def test_people_read_the_groups():
    """Before a deploy, in a terminal."""
    [row] = unfit(payload={"coupon": 5})
    out, err = io.StringIO(), io.StringIO()

    with pytest.raises(SystemExit):
        call_command("effects_doctor", "--payloads", stdout=out, stderr=err)

    assert "delivery shop.send_receipt: version 1, coupon" in out.getvalue()
    assert f"({row.pk})" in out.getvalue()
    assert "1 rows read" in err.getvalue()
