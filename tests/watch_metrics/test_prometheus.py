"""What Prometheus is told: by the real exporter, in its own text."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test import RequestFactory
from prometheus_client import CollectorRegistry

from reliable_effects import Poison, Skip, Uncertain, signals
from reliable_effects.clock import DbNow
from reliable_effects.outbox import remedy, settle
from reliable_effects.outbox.models import Delivery, Sweep
from reliable_effects.outbox.run import run
from reliable_effects.outbox.states import State
from reliable_effects.watch.prometheus import counting
from reliable_effects.watch.prometheus.standing import Standing
from tests.outbox.conftest import (
    an_event,
    carry_out,
    claim_of,
    pending_delivery,
    poisoned_delivery,
    raising,
    uncertain_delivery,
)
from tests.shop.events import order_placed
from tests.shop.models import Order
from tests.waiting import eventually
from tests.watch_metrics.conftest import exported, named, samples
from tests.worker.conftest import celery_worker_on, running

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = timedelta(minutes=1)


# What happens


def test_what_was_promised_is_counted_when_it_is_committed(measuring):
    """By event and by effect; a rolled back order promised nothing."""
    with transaction.atomic():
        order_placed.emit_many([(Order.objects.create(), None) for _ in range(2)])
    with transaction.atomic():
        order_placed.emit(Order.objects.create())
        transaction.set_rollback(True)

    assert measuring("emitted_total", event="shop.order_placed") == 2
    assert measuring("promised_total", effect="shop.send_receipt") == 2


def test_a_promise_counts_as_no_event(measuring, make_effect):
    """Nobody declared one."""
    effect = make_effect()
    with transaction.atomic():
        effect.promise(Order.objects.create())

    assert measuring("promised_total", effect=effect.name) == 1
    assert measuring("emitted_total", event=effect.name) == 0


@pytest.mark.parametrize(
    ("function", "options", "outcome"),
    [
        (None, {}, "succeeded"),
        (None, {"atomic": True}, "succeeded"),
        (None, {"harmless_to_repeat": True}, "succeeded"),
        (raising(Skip("why")), {}, "skipped"),
        (raising(Poison("why")), {}, "poisoned"),
        (raising(Uncertain("why")), {}, "uncertain"),
        (raising(OSError()), {"max_attempts": 1}, "poisoned"),
    ],
)
def test_each_end_is_counted_by_its_effect(function, options, outcome, measuring, make_effect):
    """When it is written, and not when it was hoped for."""
    effect = make_effect(function, **options)
    carry_out(pending_delivery(effect))

    assert measuring("delivered_total", effect=effect.name, outcome=outcome) == 1
    assert measuring("run_seconds_count", effect=effect.name) == 1


def test_an_attempt_that_failed_is_counted_and_so_is_the_person(measuring, make_effect):
    """A retry is no end, and a redrive is no failure."""
    effect = make_effect(raising(OSError()), max_attempts=2)
    row = pending_delivery(effect)
    carry_out(row)
    carry_out(row)
    remedy.redrive(Delivery.objects.filter(pk=row.pk), by="anna", why="the partner is back")

    assert measuring("attempts_failed_total", effect=effect.name) == 2
    assert measuring("poisoned_total", effect=effect.name, reason="ATTEMPTS_SPENT") == 1
    assert measuring("redriven_total", effect=effect.name) == 1


def test_a_lost_lease_is_counted_by_nobody(measuring, make_effect):
    """The one who took over will tell how it ended."""
    effect = make_effect()
    claimed = claim_of(pending_delivery(effect))
    verdict = run(claimed)
    Delivery.objects.filter(pk=claimed.id).update(claim_token=1)

    settle.settle(claimed, verdict)

    assert measuring("delivered_total", effect=effect.name, outcome="succeeded") == 0


def test_how_late_it_is_is_measured_by_queue(measuring, make_effect):
    """Since the emit for its first attempt, and since it was due for each."""
    effect = make_effect(raising(OSError()), queue="test.late")
    row = pending_delivery(effect, event=an_event(emitted_at=DbNow() - 10 * MINUTE))
    Delivery.objects.filter(pk=row.pk).update(due_at=DbNow() - 2 * MINUTE)
    carry_out(row)
    carry_out(row)

    of_queue = {"queue": "test.late"}
    assert measuring("emit_to_start_seconds_count", **of_queue) == 1
    assert measuring("emit_to_start_seconds_bucket", le="300.0", **of_queue) == 0
    assert measuring("emit_to_start_seconds_bucket", le="1800.0", **of_queue) == 1
    assert measuring("due_to_start_seconds_count", **of_queue) == 2
    assert measuring("due_to_start_seconds_bucket", le="60.0", **of_queue) == 1


def test_a_question_to_verify_is_no_run(measuring, make_effect):
    """It would make the effect look quicker than it is."""
    effect = make_effect(verify=lambda *_: True)
    carry_out(uncertain_delivery(effect))

    assert measuring("delivered_total", effect=effect.name, outcome="succeeded") == 1
    assert measuring("run_seconds_count", effect=effect.name) == 0


@pytest.mark.usefixtures("measuring")
def test_a_success_may_still_be_written_with_the_next_claim(make_effect):
    """Else to count would cost each delivery a round trip."""
    effect = make_effect()
    claimed = claim_of(pending_delivery(effect))

    verdict = run(claimed)

    assert settle.may_be_joined(claimed, verdict)
    assert not signals.delivery_succeeded.has_listeners(effect)


@pytest.mark.usefixtures("measuring")
def test_an_exporter_that_cannot_write_fails_no_effect(make_effect, monkeypatch, caplog):
    """In multiprocess mode each number is a file on a disk."""

    class FullDisk:
        def labels(self, *_: object) -> FullDisk:
            raise OSError("No space left on device")

    for name in ("RUN", "DUE_TO_START", "DELIVERED"):
        monkeypatch.setattr(counting, name, FullDisk())
    row = pending_delivery(make_effect())

    carry_out(row)

    assert row.state == State.SUCCEEDED
    assert "No space left" in caplog.text


def test_what_is_not_started_measures_nothing(make_effect):
    """Importing it is not enough."""
    effect = make_effect()
    carry_out(pending_delivery(effect))

    assert not any(effect.name in dict(labels).values() for _, labels in exported())


# How it stands


def test_the_gauges_say_what_effects_status_says():
    """Backlog by queue, what waits for a person, and the sweeps."""
    pending_delivery(due_at=DbNow() - 2 * MINUTE)
    pending_delivery(due_at=DbNow() + MINUTE, look_at=DbNow() + MINUTE)
    poisoned_delivery(reason="REFUSED")
    uncertain_delivery("shop.charge_card", look_at=None)
    Sweep.objects.create(name="rescue", ran_at=DbNow() - 60 * MINUTE)
    registry = Registry()

    told = registry.read()

    on = {"database": "default"}
    queue = {"queue": "effects", **on}
    assert told[named("database_up", **on)] == 1
    assert told[named("queue_due", **queue)] == 1
    assert told[named("queue_later", **queue)] == 1
    assert 100 < told[named("queue_oldest_due_seconds", **queue)] < 1000
    assert told[named("queue_consumed", **queue)] == 0
    pill = {"effect": "shop.wrap", "state": "poisoned", "reason": "REFUSED"}
    doubt = {"effect": "shop.charge_card", "state": "uncertain", "reason": ""}
    assert told[named("set_aside", **pill, **on)] == 1
    assert told[named("set_aside", **doubt, **on)] == 1
    assert told[named("sweep_stale", sweep="rescue", **on)] == 1
    assert told[named("sweep_age_seconds", sweep="prune", **on)] == float("inf")
    assert told[named("read_age_seconds")] >= 0


class Registry:
    """A registry with gauges of its own, read with the exporter's text."""

    def __init__(self, **options: float) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(Standing(**options))

    def read(self):
        return exported(self.registry)


def test_to_register_asks_no_database(django_assert_num_queries):
    """It happens while Django is started, where there may be none."""
    with django_assert_num_queries(0):
        Registry()


def test_two_scrapes_in_a_row_ask_once():
    """However many exporters there are."""
    gauges = Registry(fresh_for=3600)
    gauges.read()
    pending_delivery()

    assert gauges.read()[named("queue_due", database="default", queue="effects")] == 0


def test_gauges_follow():
    """What is old enough is read again."""
    gauges = Registry(fresh_for=0)
    gauges.read()
    pending_delivery()

    assert gauges.read()[named("queue_due", database="default", queue="effects")] == 1


@pytest.mark.skipif(connection.vendor == "sqlite", reason="its readers wait for nobody")
def test_a_database_that_does_not_answer_keeps_no_scrape_waiting():
    """The other metrics of the process are needed most of all then."""
    gauges = Registry(fresh_for=0, patience=0.2)
    due = named("queue_due", database="default", queue="effects")
    pending_delivery()
    eventually(lambda: gauges.read().get(due) == 1)
    pending_delivery()

    with all_locked():
        while_locked = gauges.read()

    assert while_locked[due] == 1
    assert while_locked[named("read_age_seconds")] > 0
    eventually(lambda: gauges.read()[due] == 2)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="its readers wait for nobody")
def test_who_never_gets_an_answer_is_followed_by_another():
    """The database may be back long since, and only that connection dead."""
    gauges = Standing(fresh_for=0, patience=0.1, give_up_after=0)

    with all_locked():
        list(gauges.collect())
        first = gauges._reader
        list(gauges.collect())
        second = gauges._reader
        both_wait = first.is_alive() and second.is_alive()
    for reader in (first, second):
        reader.join(20)

    assert both_wait
    assert first is not second


class all_locked:  # noqa: N801  # a context manager
    """Nobody can read our deliveries while the block runs."""

    def __enter__(self) -> None:
        self._holds, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold)
        self._thread.start()
        assert self._holds.wait(10)

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(20)

    def _hold(self) -> None:
        table = Delivery._meta.db_table
        on_postgres = connection.vendor == "postgresql"
        lock = "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE" if on_postgres else "LOCK TABLES {} WRITE"
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(lock.format(table))
            self._holds.set()
            self._done.wait(20)
            if not on_postgres:
                cursor.execute("UNLOCK TABLES")
        connection.close()


def test_what_fails_is_told_and_the_rest_is_served(settings):
    """A typo in the settings must not take the page of all metrics with it."""
    gauges = Registry(fresh_for=0)
    gauges.read()
    settings.RELIABLE_EFFECTS = {"NO_SUCH": 1}

    told = gauges.read()

    assert told[named("database_up", database="default")] == 1


# Where it is served


@pytest.mark.usefixtures("measuring")
def test_django_prometheus_serves_it(make_effect):
    """Its view reads the default registry, as ours are in."""
    exports = pytest.importorskip("django_prometheus.exports")
    effect = make_effect()
    carry_out(pending_delivery(effect))

    page = exports.ExportToDjangoView(RequestFactory().get("/metrics"))

    told = samples(page.content.decode())
    assert told[named("delivered_total", effect=effect.name, outcome="succeeded")] == 1
    assert named("database_up", database="default") in told


@pytest.fixture
def measured_processes(tmp_path) -> dict[str, str]:
    """The environment of processes that put what they measure into one directory."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    return {
        "DJANGO_SETTINGS_MODULE": "tests.watch_metrics.settings",
        "PROMETHEUS_MULTIPROC_DIR": str(folder),
    }


def test_all_processes_of_effects_worker_are_summed(tmp_path, measured_processes):
    """Two children write, and somebody else reads; with the gauges."""
    command = ["django", "effects_worker", "--processes", "2"]

    with running(command, tmp_path / "log", **measured_processes):
        told = told_of_six(measured_processes)

    assert told


@pytest.mark.one_database
def test_all_processes_of_celerys_prefork_pool_are_summed(
    tmp_path, measured_processes, redis_server
):
    """A stock worker that knows nothing of it."""
    redis_server.wipe()

    with celery_worker_on(redis_server, tmp_path, **measured_processes):
        told = told_of_six(measured_processes)

    assert told


def told_of_six(environment: dict[str, str]):
    """What is served when workers have carried out six deliveries, and one is left for later."""
    rows = [pending_delivery() for _ in range(6)]
    eventually(lambda: not Delivery.objects.exclude(state=State.SUCCEEDED).exists(), within=30)
    pending_delivery(due_at=DbNow() + MINUTE, look_at=DbNow() + MINUTE)
    told = samples(
        subprocess.run(
            [sys.executable, "-c", _SCRAPE], env=os.environ | environment,
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout
    )  # fmt: skip

    done = named("delivered_total", effect="shop.wrap", outcome="succeeded")
    assert told[done] == len(rows)
    assert told[named("run_seconds_count", effect="shop.wrap")] == len(rows)
    assert told[named("queue_later", database="default", queue="effects")] == 1
    return told


_SCRAPE = """
import django
django.setup()
from prometheus_client import generate_latest
from reliable_effects.watch.prometheus import everything
print(generate_latest(everything()).decode())
"""


def test_the_commands_do_not_need_it(capsys):
    """Gauges and effects_status read the same, and neither the other."""
    call_command("effects_status")

    assert "database default" in capsys.readouterr().out
