"""Each way to break the promises is found by its check, and a good project hears nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import kombu
import pytest
from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db import connection, connections
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from rest_framework.decorators import api_view
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from reliable_effects import ONCE, Event, effect
from reliable_effects.checks import CATALOGUE
from reliable_effects.checks.project import about_database
from reliable_effects.idempotency import Idempotency, IdempotentView, idempotent
from reliable_effects.inbox import consume_once
from reliable_effects.outbox.sweeps import tasks
from reliable_effects.reports import report
from tests.checks.conftest import Project
from tests.idempotency.views import OfRestFramework
from tests.shop.models import LedgerEntry, Order
from tests.trials.models import TrialExpiry

pytestmark = pytest.mark.django_db

QUEUES = ["celery", "effects", "payments"]  # all that the shop's effects need

Spoil = Callable[[Project], None]
SPOILERS: list[tuple[str, str, Spoil]] = []


def spoils(id_: str, *, naming: str) -> Callable[[Spoil], Spoil]:
    """A change to a good project that *id_* finds, with a message that names the offender."""

    def note(spoil: Spoil) -> Spoil:
        SPOILERS.append((id_, naming, spoil))
        return spoil

    return note


def nothing(*_args, **_kwargs) -> None:
    """What the effects here do."""


class KeepsOurTablesAway:
    def allow_migrate(self, _db, app_label, **_hints):
        return app_label != "reliable_effects"


class WritesOrdersElsewhere:
    def db_for_write(self, model, **_hints):
        return "other" if model is Order else None


@spoils("E001", naming="USE_TZ")
def no_zones(project):
    project.settings.USE_TZ = False


@spoils("E003", naming="'nowhere'")
def unknown_alias(project):
    project.set(DATABASES=["default", "nowhere"])


@spoils("E003", naming="'MAX_ATTEMPTS'")
def misspelt_key(project):
    project.set(MAX_ATEMPTS=3)


@spoils("E003", naming="'TIMEOUT'")
def wrong_type(project):
    project.set(TIMEOUT=30)


@spoils("W095", naming="5 s")
def runs_shorter_than_calls(project):
    project.set(TIMEOUT=timedelta(seconds=5))


@spoils("E004", naming="shop.Order is written to 'other'")
def subject_on_another_database(project):
    project.settings.DATABASE_ROUTERS = [WritesOrdersElsewhere()]


@spoils("E006", naming="'default'")
def tables_routed_away(project):
    project.settings.DATABASE_ROUTERS = [KeepsOurTablesAway()]


@spoils("E009", naming="'default'")
def no_autocommit(project):
    project.monkeypatch.setitem(connection.settings_dict, "AUTOCOMMIT", False)


@spoils("E013", naming="'no.such.redactor'")
def redactor_is_missing(project):
    project.set(REDACT="no.such.redactor")


@spoils("E013", naming="'no.such.hiding'")
def redactor_of_payloads_is_missing(project):
    project.set(REDACT_PAYLOAD="no.such.hiding")


@spoils("E013", naming="'no.such.transport'")
def transport_is_missing(project):
    project.set(TRANSPORT="no.such.transport")


@spoils("E010", naming="task_always_eager")
def eager(project):
    project.use_celery(task_always_eager=True)


@spoils("E011", naming="no Celery app")
def celery_without_app(project):
    project.set(TRANSPORT="celery")


@spoils("E011", naming="no broker")
def celery_without_broker(project):
    project.use_celery(broker_url="")


@spoils("E011", naming="not installed")
def celery_that_is_not_installed(project):
    project.set(TRANSPORT="celery")
    project.monkeypatch.setitem(sys.modules, "celery", None)


@spoils("E012", naming="['yaml']")
def workers_refuse_json(project):
    project.use_celery(accept_content=["yaml"])


@spoils("W028", naming="pickle")
def workers_take_pickle(project):
    project.use_celery(accept_content=["json", "pickle"])


@spoils("W020", naming="'sqla'")
def broker_in_a_database(project):
    project.use_celery(broker_url="sqla+sqlite:///broker.sqlite3")


@spoils("W020", naming="'filesystem'")
def broker_in_a_folder(project):
    project.use_celery(broker_url=["filesystem://"])


@spoils("W021", naming="'gevent'")
def pool_of_greenlets(project):
    project.use_celery(worker_pool="gevent")


@spoils("W029", naming="'payments'")
def queue_that_workers_leave_out(project):
    project.use_celery(task_queues=[kombu.Queue("celery"), kombu.Queue("effects")])


@spoils("E030", naming="'payments'")
def queue_that_may_not_be_made(project):
    project.use_celery(task_queues={"celery": {}, "effects": {}}, task_create_missing_queues=False)


@spoils("W031", naming="'reliable_effects.rescue'")
def nobody_sweeps(project):
    project.use_celery(beat_schedule={"relay": {"task": "reliable_effects.relay", "schedule": 2}})
    project.set(SWEEP_IN_WORKERS=False)


@spoils("W032", naming="reliable_effects.*")
def route_without_a_say(project):
    project.use_celery(task_routes=({"reliable_effects.*": {"queue": "x"}},))


@spoils("E070", naming="'no_field'")
def since_names_nothing(_project):
    declared = effect("test.owes", subject="shop.Order")(nothing)
    declared.owed(since="no_field", grace=timedelta(1), debt=ONCE)(Order.objects.all)


@spoils("E070", naming="'status'")
def since_names_no_date(_project):
    declared = effect("test.owes", subject="shop.Order")(nothing)
    declared.owed(since="status", grace=timedelta(1), debt=ONCE)(Order.objects.all)


@spoils("E076", naming="returns a list")
def query_that_is_a_list(_project):
    declared = effect("test.owes", subject="shop.Order")(nothing)
    declared.owed(since="placed_at", grace=timedelta(1), debt=ONCE)(list)


@spoils("E076", naming="is about shop.LedgerEntry")
def query_about_another_model(_project):
    declared = effect("test.owes", subject="shop.Order")(nothing)
    declared.owed(since="placed_at", grace=timedelta(1), debt=ONCE)(LedgerEntry.objects.all)


def a_report() -> None:
    def rows():
        yield {"a": 1}

    report("test.report", allowed=lambda _user: True, fresh_for=timedelta(1))(rows)


def kept(project: Project, backend: str, **options: object) -> None:
    a_report()
    path = backend if "." in backend else f"reliable_effects.reports.{backend}"
    project.set(REPORT_STORE={"BACKEND": path, "OPTIONS": options})


@spoils("E110", naming="location")
def reports_without_a_place(_project):
    a_report()


@spoils("E110", naming="no_such_place")
def reports_in_a_store_that_is_none(project):
    kept(project, "no_such_place.Store")


@spoils("E111", naming="inside MEDIA_ROOT")
def reports_in_the_open(project):
    project.settings.MEDIA_ROOT = "/srv/media"
    kept(project, "FileReportStore", location="/srv/media/../media/reports")


@spoils("E112", naming="'elsewhere'")
def reports_in_no_storage(project):
    kept(project, "DjangoStorageReportStore", alias="elsewhere")


@spoils("E071", naming="'shop.Nothing'")
def event_about_no_model(_project):
    Event("test.happened", subject="shop.Nothing")


@spoils("E071", naming="'shop.Nothing'")
def effect_on_no_model(_project):
    effect("test.does", subject="shop.Nothing")(nothing)


@spoils("W072", naming="'test.asks'")
def asks_about_no_subject(_project):
    effect("test.asks", still_needed=bool)(nothing)


@spoils("E073", naming="'shop.next_release'")
def job_of_no_event(project):
    project.monkeypatch.setattr(TrialExpiry, "emits", "shop.next_release")


@spoils("E073", naming="'shop.order_seen'")
def job_of_an_event_about_others(project):
    project.monkeypatch.setattr(TrialExpiry, "emits", "shop.order_seen")


@spoils("E073", naming="None")
def job_that_names_no_event(project):
    project.monkeypatch.delattr(TrialExpiry, "emits")


@spoils("E074", naming="'archive'")
def job_done_otherwise(project):
    project.monkeypatch.setattr(TrialExpiry, "when_done", "archive")


@spoils("E090", naming="handle and tests.checks.test_checks.two_handlers")
def two_handlers(_project):
    """The second would be told that the first's messages are duplicates."""
    consume_once("billing")(handle)
    consume_once("billing")(lambda message_id: None)  # noqa: ARG005


@spoils("E091", naming="for 30 days")
def sender_that_repeats_for_long(_project):
    consume_once("billing", redelivered_for=timedelta(days=30))(handle)


@spoils("E092", naming="'elsewhere'")
def consumer_whose_rows_stay(_project):
    consume_once("billing", using="elsewhere")(handle)


def handle(message_id):
    return message_id


@spoils("W075", naming="trials.TrialExpiry")
def job_without_its_index(project):
    project.monkeypatch.setattr(TrialExpiry._meta, "indexes", [])


@spoils("E100", naming="'paymnets'")
def limit_on_a_queue_that_never_fills(project):
    project.limit(queue="paymnets", max_backlog=5)


@spoils("E101", naming="'shop.charge_crad'")
def limit_on_an_effect_that_is_not_there(project):
    project.limit(effects=["shop.charge_crad"], max_backlog=5)


def acts(_request: HttpRequest) -> HttpResponse:
    return HttpResponse()


class Refund(IdempotentView, LoginRequiredMixin):
    """The stored answer stands before the login."""


@method_decorator(idempotent, name="dispatch")
class Cancel(LoginRequiredMixin, View):
    """Here too: what decorates dispatch comes before all that the class does."""


class Pay(LoginRequiredMixin, View):
    @method_decorator(idempotent)
    def post(self, request: HttpRequest) -> HttpResponse:
        return acts(request)


class Plain(LoginRequiredMixin, View):
    """Nothing is said here; who decorates it from outside says it."""


class GoodPay(LoginRequiredMixin, IdempotentView):
    """Permissions to the left."""


class Elsewhere(IdempotentView):
    """Where its records are is said in the routes."""


@method_decorator(idempotent, name="dispatch")
class Around(APIView):
    """Permissions, and what becomes of exceptions, are inside of what is decorated."""


class Action(ViewSet):
    @method_decorator(idempotent)
    def pay(self, request: HttpRequest) -> HttpResponse:
        return acts(request)


def within(request: HttpRequest) -> HttpResponse:
    return acts(request)


def route(project: Project, *views: Any) -> None:
    urls = [path(f"{number}/", view) for number, view in enumerate(views)]
    nested = [path("shop/", include(urls))]
    project.settings.ROOT_URLCONF = type("Urls", (), {"urlpatterns": nested})


@spoils("E080", naming="acts keeps its idempotency records on 'other'")
def records_on_another_database(project):
    route(project, idempotent(using="other")(acts))


@spoils("E081", naming="Refund")
def permission_asked_after_the_answer(project):
    route(project, Refund.as_view())


@spoils("E081", naming="Cancel")
def permission_asked_inside_of_dispatch(project):
    route(project, Cancel.as_view())


@spoils("E081", naming="Plain")
def permission_asked_inside_of_a_decorated_class(project):
    route(project, idempotent(Plain.as_view()))


@spoils("E082", naming="Pay")
def method_inside_of_djangos_transaction(project):
    project.monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    route(project, Pay.as_view())


@spoils("E080", naming="Elsewhere keeps its idempotency records on 'other'")
def records_on_another_database_by_as_view(project):
    route(project, Elsewhere.as_view(idempotency=Idempotency(using="other")))


@spoils("E084", naming="Around")
def rest_framework_decorated_from_outside(project):
    route(project, Around.as_view())


@spoils("E084", naming="Action")
def action_of_rest_framework_decorated(project):
    route(project, Action.as_view({"post": "pay"}))


@spoils("E084", naming="within")
def function_of_rest_framework_decorated(project):
    route(project, api_view(["POST"])(idempotent(within)))


@spoils("W083", naming="acts")
def keys_of_users_that_nobody_knows(project):
    project.settings.MIDDLEWARE = []
    route(project, csrf_exempt(idempotent(acts)))


def test_good_idempotent_views_hear_nothing(project):
    """In every way that the docs tell."""
    project.monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

    route(
        project,
        login_required(idempotent(acts)),
        GoodPay.as_view(),
        OfRestFramework.as_view(),
        acts,
    )

    assert [
        m
        for m in project.checked()
        if m.id.split(".")[1] in ("E080", "E081", "E082", "W083", "E084")
    ] == []


@pytest.mark.parametrize(
    ("id_", "naming", "spoil"), SPOILERS, ids=[spoil.__name__ for _, _, spoil in SPOILERS]
)
def test_a_spoilt_project_is_told_what_and_how_to_mend_it(project, id_, naming, spoil):
    """Silent before; then one message that names the offender, with a hint to paste."""
    assert not project.found(id_)

    spoil(project)

    (message, *_) = messages = project.found(id_)
    assert any(naming in each.msg for each in messages), [each.msg for each in messages]
    assert message.hint
    assert message.is_serious() == id_.startswith("E")


@pytest.mark.parametrize(
    ("id_", "vendor", "config"),
    [
        ("E005", "oracle", {}),
        ("E007", "sqlite", {}),
        ("E007", "sqlite", {"OPTIONS": {"transaction_mode": "DEFERRED"}}),
        ("E008", "mysql", {"OPTIONS": {"isolation_level": "repeatable read"}}),
        ("E008", "mysql", {"OPTIONS": {"isolation_level": None}}),
        ("E009", "postgresql", {"AUTOCOMMIT": False}),
        ("E014", "mysql", {"TIME_ZONE": "Europe/Paris"}),
        (
            "E014",
            "sqlite",
            {"TIME_ZONE": "Etc/GMT+5", "OPTIONS": {"transaction_mode": "IMMEDIATE"}},
        ),
    ],
)
def test_a_database_that_breaks_promises_is_named(id_, vendor, config):
    """Each of these loses or blocks work on a real server."""
    (message,) = about_database("orders", vendor, config)

    assert message.id == f"reliable_effects.{id_}"
    assert "'orders'" in message.msg


@pytest.mark.parametrize(
    ("vendor", "options"),
    [
        ("postgresql", None),
        ("postgresql", {"pool": True}),
        ("mysql", {}),
        ("mysql", {"isolation_level": "READ COMMITTED"}),
        ("sqlite", {"transaction_mode": "IMMEDIATE"}),
        ("sqlite", {"transaction_mode": "exclusive"}),
    ],
)
def test_a_good_database_hears_nothing(vendor, options):
    """Django's own defaults are good but for SQLite."""
    assert list(about_database("default", vendor, {"OPTIONS": options})) == []


@pytest.mark.parametrize(
    ("vendor", "zone"), [("postgresql", "Europe/Paris"), ("mysql", "UTC"), ("mysql", None)]
)
def test_a_zone_that_changes_nothing_is_let_be(vendor, zone):
    """PostgreSQL's instants know their zone."""
    assert list(about_database("default", vendor, {"TIME_ZONE": zone})) == []


@pytest.mark.skipif(connection.vendor != "sqlite", reason="about a file of SQLite's")
@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_file_without_write_ahead_log_is_named(project):
    """The mode is kept in the file, so only the file can say."""
    assert not project.found("W060")
    other = connections["other"]
    project.set(DATABASES=["default", "other"])

    with other.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode=DELETE")
        try:
            messages = project.found("W060")
        finally:
            cursor.execute("PRAGMA journal_mode=WAL")

    assert ["'other'" in message.msg for message in messages] == [True]


@pytest.mark.skipif(connection.vendor != "mysql", reason="about tables of MariaDB's")
@pytest.mark.django_db(transaction=True)
def test_a_table_that_cannot_keep_every_letter_is_named(project):
    """Servers make them in latin1 where nobody says otherwise; an exception may say anything."""
    assert not project.found("E061")
    column = "ALTER TABLE reliable_effects_attempt MODIFY message longtext CHARSET {} NOT NULL"

    with connection.cursor() as cursor:
        cursor.execute(column.format("latin1"))
        try:
            messages = project.found("E061")
        finally:
            cursor.execute(column.format("utf8mb4"))

    assert ["latin1" in message.msg for message in messages] == [True]


@pytest.mark.parametrize(
    "conf",
    [
        {},
        {"broker_url": "amqps://rabbit/"},
        {"task_queues": [kombu.Queue(name) for name in QUEUES]},
        {"task_queues": {name: {} for name in QUEUES}, "task_create_missing_queues": False},
        {"task_routes": {"*": {"queue": "rest"}, "reliable_effects.prune": {"queue": "night"}}},
        {"task_routes": [("shop.*", "x"), lambda *_args, **_kw: None]},
        {"worker_concurrency": 4, "task_acks_late": True, "task_serializer": "pickle"},
    ],
)
def test_a_good_project_with_celery_hears_nothing(project, conf):
    """Its own choices, where they break no promise, are its own."""
    project.use_celery(**conf)

    assert project.checked() == []


def test_a_good_project_without_celery_hears_nothing(project):
    """The core runs with Django alone."""
    project.set(TRANSPORT="none")

    assert project.checked() == []


def test_celery_settings_are_no_matter_where_hints_travel_otherwise(project):
    """Effects that run in effects_worker are not the project's Celery's concern."""
    project.use_celery(accept_content=["pickle"], worker_pool="solo", task_always_eager=True)
    project.set(TRANSPORT="none")

    assert project.checked() == []


def test_eager_tasks_are_no_matter_in_debug(project):
    """On a developer's machine it is a choice."""
    project.settings.DEBUG = True
    project.use_celery(task_always_eager=True)

    assert project.checked() == []


def test_sweeps_that_beat_runs_are_enough(project):
    """Workers need not sweep where beat does."""
    schedule = {task: {"task": task, "schedule": 10} for task in tasks()}
    project.use_celery(beat_schedule=schedule)
    project.set(SWEEP_IN_WORKERS=False)

    assert project.checked() == []


@pytest.mark.parametrize(
    ("discovery", "told"),
    [
        ("app.autodiscover_tasks()", []),
        ("app.autodiscover_tasks(['tests.shop'])", ["reliable_effects.W033"]),
        ("app.conf.imports = ['reliable_effects.tasks']", []),
        ("pass", ["reliable_effects.W033"]),
    ],
)
def test_workers_that_would_not_load_our_tasks_are_found(discovery, told):
    """In a process of its own: what was imported once is known to every app of a process."""
    script = f"""
import os
from celery import Celery
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
app = Celery("project", broker="redis://localhost:1/0")
{discovery}
import django; django.setup()
from django.core.checks import run_checks
from django.test import override_settings
with override_settings(RELIABLE_EFFECTS={{"TRANSPORT": "celery"}}):
    found = run_checks(tags=["reliable_effects"], include_deployment_checks=True)
print(*(message.id for message in found))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=True
    )

    assert done.stdout.split() == told


def test_the_catalogue_lists_each_check_once_and_nothing_else():
    """The documents and `SILENCED_SYSTEM_CHECKS` go by it."""
    listed = [check.id for check in CATALOGUE]
    elsewhere = ["E005", "E007", "E008", "E014", "E061", "W033", "W060"]
    tested = {id_ for id_, _, _ in SPOILERS} | set(elsewhere)

    assert len(set(listed)) == len(listed)
    assert set(listed) == tested
