"""Relay, rescue and prune, each in its turn, on every database; one that fails stops no other."""

from __future__ import annotations

import pytest
from django.db import connections

from reliable_effects import tasks
from reliable_effects.clock import DbNow
from reliable_effects.outbox import sweeps
from reliable_effects.outbox.models import Delivery, Sweep
from reliable_effects.outbox.states import State
from reliable_effects.outbox.sweeps import PRUNE, RELAY, RESCUE, periods, sweep, sweep_all
from tests.outbox.conftest import expired_delivery, pending_delivery, succeeded_delivery
from tests.sweeps import transport
from tests.sweeps.conftest import DAY, SECOND, refusing

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.usefixtures("_transport"),
]


def test_everything_is_swept_and_says_so():
    """One call does the clock's work."""
    row = expired_delivery()
    succeeded_delivery(finished_at=DbNow() - 8 * DAY)

    done = sweep_all()

    assert set(done) == {f"default/{name}" for name in periods()}
    assert done["default/rescue"].done == done["default/prune"].done == 1
    assert list(Delivery.objects.values_list("pk", "state")) == [(row.pk, State.PENDING)]
    told = dict(Sweep.objects.values_list("name", "done"))
    assert {name: told[name] for name in (RELAY, RESCUE, PRUNE)} == {RELAY: 0, RESCUE: 1, PRUNE: 1}


def test_a_sweep_waits_for_its_turn():
    """All workers call it each second."""
    sweep_all(with_relay=False)

    assert sweep_all(with_relay=False) == {}


def test_people_need_not_wait_for_it():
    """`effects_prune` is asked for now."""
    sweep("default", PRUNE)
    succeeded_delivery(finished_at=DbNow() - 8 * DAY)

    swept = sweep("default", PRUNE, now=True)

    assert swept is not None
    assert not Delivery.objects.exists()


def test_a_beat_of_the_same_period_is_never_too_early():
    """Else every other tick of beat would find that it is not time yet."""
    sweep("default", RELAY)
    Sweep.objects.update(ran_at=DbNow() - 1.9 * SECOND)

    assert sweep("default", RELAY) is not None


def test_a_sweep_that_fails_stops_no_other_and_is_an_alarm(caplog):
    """Its turn is taken, so without a word its heartbeat would look well."""
    row = expired_delivery()
    sweep_all()
    Sweep.objects.update(ran_at=DbNow() - DAY)
    expired = expired_delivery()

    with refusing("reliable_effects_sweep", "UPDATE", "OLD.name = 'relay' AND NEW.done = 0"):
        done = sweep_all()

    expired.refresh_from_db()
    assert "default/relay" not in done
    assert done["default/rescue"].done == 1
    assert expired.state == State.PENDING
    assert "sweep relay on default failed" in caplog.text
    assert row.pk != expired.pk


def test_what_failed_is_reported_as_cut_short(monkeypatch):
    """Whatever it raises: a project's code may be in it."""
    from reliable_effects.outbox import rescue as rescue_module  # noqa: PLC0415

    expired_delivery()
    sweep("default", RESCUE)
    monkeypatch.setattr(rescue_module.unknown, "revive", lambda _using: 1 / 0)

    swept = sweep("default", RESCUE, now=True)

    assert swept is None
    assert Sweep.objects.get(name=RESCUE).truncated


def test_every_database_is_swept(settings):
    """A row is swept where it is."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "DATABASES": ["default", "other"]}

    done = sweep_all(with_relay=False)

    names = periods().keys() - {RELAY}
    assert set(done) == {f"{using}/{name}" for using in ("default", "other") for name in names}
    assert set(Sweep.objects.using("other").values_list("name", flat=True)) >= names


def test_no_database_always_comes_first(settings):
    """One that never answers ends the process; the next must get to the others before it."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "DATABASES": ["default", "other"]}
    firsts = set()
    for _ in range(50):  # by chance alone they would be one in 2**49 runs of this test
        for using in ("default", "other"):
            Sweep.objects.using(using).filter(name=RESCUE).delete()
        firsts.add(next(iter(sweep_all(with_relay=False))))
        if len(firsts) > 1:
            break

    assert firsts == {"default/rescue", "other/rescue"}


def test_one_broken_database_stops_no_other(settings, caplog):
    """What is down is down alone."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "DATABASES": ["other", "default"]}
    table = connections["other"].ops.quote_name(Sweep._meta.db_table)
    with connections["other"].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
    try:
        done = sweep_all(with_relay=False)
    finally:
        with connections["other"].cursor() as cursor:
            cursor.execute(f"ALTER TABLE away RENAME TO {table}")

    assert set(done) == {f"default/{name}" for name in periods().keys() - {RELAY}}
    assert "on other failed" in caplog.text


@pytest.mark.parametrize("name", sweeps.periods())
def test_beat_finds_each_sweep_by_its_name(name):
    """The names stand in people's schedules."""
    task = getattr(tasks, name)

    task()

    assert task.name == f"reliable_effects.{name}"
    assert Sweep.objects.filter(name=name).exists()


def test_beat_relays_what_was_not_hinted():
    """Where workers do not sweep, beat does."""
    row = pending_delivery()

    tasks.relay()

    assert transport.hinted_ids() == [row.pk]
