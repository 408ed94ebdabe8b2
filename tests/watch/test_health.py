"""The health view answers soon, to anybody, whatever state the databases are in."""

from __future__ import annotations

import pytest
from django.db import connection, connections
from django.urls import reverse

from reliable_effects.outbox.heartbeat import CLAIMS
from reliable_effects.outbox.models import Sweep
from reliable_effects.watch import health
from tests.outbox.conftest import pending_delivery, poisoned_delivery, uncertain_delivery
from tests.watch.conftest import HOUR, MINUTE, ago, all_have_swept, hangs

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.watch.urls")]

HEALTH, DATABASE = "/effects/health", "/effects/health/database"


@pytest.fixture(autouse=True)
def _all_have_swept():
    all_have_swept()
    Sweep.objects.create(name=CLAIMS + "effects")


@pytest.fixture
def no_table():
    """As where a database is away: what is asked of it is an error."""
    table = connection.ops.quote_name(Sweep._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE away RENAME TO {table}")


def test_where_effects_are_carried_out_all_is_well(client):
    """What a load balancer and a monitor want is the number 200."""
    pending_delivery()

    answer = client.get(HEALTH)

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    told = answer.json()
    assert (told["status"], told["problems"]) == ("ok", [])
    [database] = told["databases"]
    assert [queue["due"] for queue in database["queues"] if queue["name"] == "effects"] == [1]
    assert {"alerts", "prune", "rescue"} <= {sweep["name"] for sweep in database["sweeps"]}


@pytest.mark.parametrize(
    ("spoil", "naming"),
    [
        (lambda: Sweep.objects.filter(name="rescue").update(ran_at=ago(HOUR)), "sweep rescue"),
        (lambda: Sweep.objects.filter(name="alerts").delete(), "sweep alerts"),
        (lambda: pending_delivery(queue="far", due_at=ago(2 * MINUTE)), "queue far"),
        (lambda: pending_delivery(due_at=ago(6 * MINUTE)), "6 min late"),
    ],
)
def test_where_they_are_not_it_says_why(client, caplog, spoil, naming):
    """A monitor that only looks at workers' processes calls all of these well."""
    spoil()

    answer = client.get(HEALTH)

    assert answer.status_code == 503
    assert naming in " ".join(answer.json()["problems"])
    assert "django.request" not in {r.name for r in caplog.records}  # which would mail ADMINS
    assert client.get(DATABASE).status_code == 200


def test_what_waits_for_a_person_is_counted_and_is_no_failure(client):
    """To take servers out of the line mends no poison pill."""
    poisoned_delivery("shop.secret_project")
    uncertain_delivery("shop.secret_project", look_at=None)

    answer = client.get(HEALTH)

    assert answer.status_code == 200
    [database] = answer.json()["databases"]
    assert (database["poisoned"], database["uncertain"]) == (1, 1)
    assert "secret_project" not in answer.content.decode()


@pytest.mark.usefixtures("no_table")
@pytest.mark.parametrize("address", [HEALTH, DATABASE])
def test_a_database_that_is_away_is_no_traceback_and_no_secret(client, settings, address):
    """Its error names hosts, users and tables."""
    settings.DEBUG = False

    answer = client.get(address)

    assert answer.status_code == 503
    assert answer.json()["status"] == "failing"
    assert "database default cannot be read" in answer.json()["problems"]
    assert Sweep._meta.db_table not in answer.content.decode()


@pytest.mark.usefixtures("no_table")
def test_nor_where_each_request_is_a_transaction(client, monkeypatch):
    """ATOMIC_REQUESTS would begin one before the view is called."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

    assert client.get(HEALTH).status_code == 503
    assert reverse("reliable_effects:health") == HEALTH


@pytest.mark.parametrize("address", [HEALTH, DATABASE])
def test_head_is_answered_and_nothing_can_be_posted(client, address):
    """Some balancers ask no other way."""
    head = client.head(address)

    assert (head.status_code, head.content) == (200, b"")
    assert client.post(address).status_code == 405


def test_who_asks_often_costs_no_more(client, django_assert_num_queries):
    """Anybody may ask."""
    client.get(HEALTH)

    with django_assert_num_queries(0):
        client.get(HEALTH)


@pytest.fixture
def hung():
    """What is asked of the database is not answered."""
    yield from hangs("default")


def test_a_database_that_hangs_is_told_of_in_time_and_asked_once(client, monkeypatch, hung):
    """A balancer waits for seconds, and asks again soon."""
    monkeypatch.setattr(health, "_PATIENCE", 0.1)
    first = client.get(HEALTH)
    looking = health._looks.of("default").thread
    second = client.get(HEALTH)
    is_the_same = looking is health._looks.of("default").thread
    third = client.get(DATABASE)
    hung.close()
    looking.join(20)
    health._reads.of("default").thread.join(20)

    fourth = client.get(DATABASE)

    assert [answer.status_code for answer in (first, second, third, fourth)] == [503, 503, 503, 200]
    assert is_the_same


@pytest.fixture
def locked():
    """Nobody can look at deliveries."""
    yield from hangs("default", "delivery")


def test_a_backlog_that_takes_long_to_count_makes_no_database_unreadable(
    client, monkeypatch, locked
):
    """A balancer that counts it along takes every web server out of the line."""
    monkeypatch.setattr(health, "_PATIENCE", 1.0)

    counted, readable = client.get(HEALTH), client.get(DATABASE)
    locked.close()
    health._looks.of("default").thread.join(20)

    assert (counted.status_code, readable.status_code) == (503, 200)


BOTH = pytest.mark.django_db(transaction=True, databases=["default", "other"])


@BOTH
def test_every_database_is_looked_at_and_one_that_is_away_hides_no_other(
    client, settings, monkeypatch
):
    """What is emitted lies where its subject is."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "DATABASES": ["other", "default"]}
    connections["other"].close()
    place = {"NAME": "/nowhere/at/all"} if connection.vendor == "sqlite" else {"PORT": 1}
    for key, value in place.items():
        monkeypatch.setitem(connections["other"].settings_dict, key, value)

    answer = client.get(DATABASE)
    told = client.get(HEALTH).json()

    assert answer.status_code == 503
    assert answer.json()["problems"] == ["database other cannot be read"]
    assert [each["is_readable"] for each in told["databases"]] == [False, True]


# django-health-check


@pytest.fixture
def plugged(settings):
    pytest.importorskip("health_check")
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "health_check"]
    settings.ROOT_URLCONF = "tests.watch.urls_of_health_check"


@pytest.mark.usefixtures("plugged")
def test_django_health_check_shows_ours_beside_its_own(client):
    """Projects that have it have one place to look at."""
    well = client.get("/health?format=json")
    Sweep.objects.filter(name="rescue").update(ran_at=ago(HOUR))
    health.forget()

    ill = client.get("/health?format=json")

    assert (well.status_code, well.json()) == (200, {"Effects()": "OK"})
    assert ill.status_code == 500
    assert "sweep rescue on default last ran" in ill.json()["Effects()"]


def test_connections_are_left_as_they_were():
    """The thread that looked has closed its own."""
    health.look()

    assert connections["default"].is_usable()
