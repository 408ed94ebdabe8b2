"""
Days of 23, 24 and 25 hours, the 29th of February, the year 2100, servers in odd zones.

Instants are UTC in every row, and a span is so many seconds, whatever day it falls on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings as project
from django.db import connections

from reliable_effects.clock import DbNow, read_clock
from reliable_effects.outbox import finish
from reliable_effects.outbox.claim import claim, look
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.states import State
from tests.faults.place.aliases import (
    DATABASE,
    Config,
    elsewhere,
    known,
    only_on_servers,
    only_on_sqlite,
)
from tests.faults.place.effects import promise, ring
from tests.outbox.conftest import pending_delivery
from tests.services.wrong_clock import off_to, set_clock, shifted
from tests.waiting import eventually

on_the_usual_database = pytest.mark.django_db(transaction=True)

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)

# An hour before each; the zone is New York's, whose changes are at 07:00 and 06:00 UTC.
MOMENTS = {
    "an hour is left out": datetime(2027, 3, 14, 6, tzinfo=UTC),
    "an hour comes twice": datetime(2027, 11, 7, 5, tzinfo=UTC),
    "a leap day begins": datetime(2028, 2, 28, 23, tzinfo=UTC),
}
NEW_YORK = "America/New_York"

moments = pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS.keys())


def zoned(config: Config) -> Config:
    """The same database for a session that lives in New York, as far as our checks allow it."""
    if DATABASE == "postgres":
        return config | {"TIME_ZONE": NEW_YORK}
    return config | {"OPTIONS": config["OPTIONS"] | {"init_command": "SET time_zone = '-05:00'"}}


@only_on_servers
@moments
@pytest.mark.fault("the clock of a server's zone changes while rows wait and run", rows="T6")
def test_a_span_is_as_long_on_the_day_of_the_change(moment, clocked, evidence):
    """A day's snooze that is an hour short runs early; a lease that is, is stolen."""
    with known("zoned", zoned(clocked.config)) as using:
        clocked.is_off_by(off_to(moment))
        promise(ring, 1, using=using)
        ids = list(Delivery.objects.using(using).values_list("pk", flat=True))
        [held] = claim(look(using, ids))
        assert finish.beat(held, 3 * HOUR)
        assert abs(left(using, "lease_expires_at") - 3 * HOUR) < MINUTE
        assert finish.snooze(held, DAY)
        assert abs(left(using, "due_at") - DAY) < MINUTE
        early = due_at(clocked, using, moment + DAY - 10 * MINUTE)
        late = due_at(clocked, using, moment + DAY + 10 * MINUTE)

    evidence.add(lost=int(not late), phantom=int(early))


def left(using: str, until: str) -> timedelta:
    """In UTC: between two instants in one zone Python counts by the clock on the wall."""
    row = Delivery.objects.using(using).get()
    return getattr(row, until).astimezone(UTC) - read_clock(using)


def due_at(clocked, using: str, moment: datetime) -> bool:
    """Whether the one row there may be claimed at *moment*."""
    clocked.is_off_by(off_to(moment))
    return Delivery.objects.using(using).due().exists()


@only_on_servers
@pytest.mark.fault("the clock of a server's zone changes while workers work", rows="T6")
def test_workers_go_through_the_change(clocked, outside, effects_worker, evidence):
    """The hour that comes twice and the one that is left out are hours like any other."""
    using = clocked.alias
    committed: list[str] = []
    clocked.is_off_by(off_to(min(MOMENTS.values()) - HOUR))
    config = zoned(clocked.config)
    with effects_worker(**elsewhere(config, TEST_TIME_ZONE=NEW_YORK, TZ=NEW_YORK)):
        for moment in sorted(MOMENTS.values()):
            for minutes in (59, 61):
                clocked.is_off_by(off_to(moment + minutes * MINUTE))
                committed += promise(ring, 5, using=using)
                eventually(lambda: not unfinished(using), within=30)
                evidence.add()

    verdict = outside.judge(committed)
    evidence.judged(verdict, strikes=0)
    assert verdict.extra_runs == 0


def unfinished(using: str) -> int:
    return Delivery.objects.using(using).exclude(state=State.SUCCEEDED).count()


@on_the_usual_database
@only_on_sqlite
@pytest.mark.parametrize(
    "moment",
    [
        MOMENTS["an hour comes twice"],
        pytest.param(MOMENTS["an hour is left out"], marks=pytest.mark.full),
        pytest.param(MOMENTS["a leap day begins"], marks=pytest.mark.full),
    ],
    ids=["an hour comes twice", "an hour is left out", "a leap day begins"],
)
@pytest.mark.fault("the clock of the machine's zone changes, on SQLite", rows="T6")
def test_sqlite_goes_through_the_change(moment, tmp_path, outside, evidence):
    """Its clock is the machine's: both what emits and what works live in New York."""
    committed: list[str] = []
    set_clock(tmp_path / "clock", timedelta(0))
    for minutes in (59, 61):
        set_clock(tmp_path / "clock", off_to(moment + minutes * MINUTE))
        zone = {"TEST_TIME_ZONE": NEW_YORK, "TZ": NEW_YORK, **shifted(tmp_path / "clock")}
        environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.faults.place.project"} | zone
        said = subprocess.run(
            [sys.executable, "-m", "tests.faults.time.promise_and_drain"],
            env=environment, check=True, timeout=60, capture_output=True, text=True,
        ).stdout  # fmt: skip
        committed += said.splitlines()
        evidence.add()

    rows = OutboxEvent.objects.all()
    assert all(abs(row.emitted_at - moment - HOUR) < 5 * MINUTE for row in rows)
    verdict = outside.judge(committed)
    assert len(committed) == 10
    evidence.judged(verdict, strikes=0)


@on_the_usual_database
@pytest.mark.fault("a delivery that is due in the year 2100", rows="T6")
def test_what_is_due_in_a_hundred_years_waits_there(evidence):
    """No database of ours counts in 32 bits."""
    year_2100 = datetime(2100, 2, 28, 23, 59, 59, 999000, tzinfo=UTC)
    row = pending_delivery(ring, due_at=year_2100, look_at=year_2100)
    today = pending_delivery(ring)

    assert [seen.id for seen in look("default", [row.pk, today.pk])] == [today.pk]
    assert list(Delivery.objects.due()) == [today]
    row.refresh_from_db()
    evidence.add(lost=int(row.due_at != year_2100 or row.look_at != year_2100))


@on_the_usual_database
@only_on_servers
@pytest.mark.fault("server, session and project each in another zone", rows="T6")
@pytest.mark.parametrize(
    "zone", ["Asia/Kathmandu", pytest.param("America/St_Johns", marks=pytest.mark.full)]
)
def test_zones_of_server_and_project_change_no_instant(zone, outside, effects_worker, evidence):
    """Odd offsets, so that a mix-up is never whole hours."""
    config = {key: value for key, value in project.DATABASES["default"].items() if key != "TEST"}
    with ExitStack() as stack:
        stack.callback(_set_server_zone, config, None)
        _set_server_zone(config, zone)
        if DATABASE == "postgres":
            config |= {"TIME_ZONE": "Pacific/Chatham"}
        committed = promise(ring, 10)
        later = pending_delivery(ring, due_at=DbNow() + 30 * MINUTE)
        with effects_worker(**elsewhere(config, TEST_TIME_ZONE="Australia/Eucla", TZ=zone)):
            eventually(
                lambda: Delivery.objects.filter(state=State.SUCCEEDED).count() == 10, within=30
            )
        for row in Delivery.objects.filter(state=State.SUCCEEDED):
            assert abs(row.finished_at - datetime.now(UTC)) < 5 * MINUTE

    later.refresh_from_db()
    verdict = outside.judge(committed)
    assert later.state == State.PENDING
    evidence.add(strikes=11, lost=verdict.lost, phantom=verdict.phantom)


def _set_server_zone(config: Config, zone: str | None) -> None:
    """For sessions to come; None is the server's own."""
    offsets = {"Asia/Kathmandu": "+05:45", "America/St_Johns": "-03:30"}  # MariaDB has no names
    with connections["default"].cursor() as cursor:
        if DATABASE == "mariadb":
            wanted = offsets[zone] if zone else "SYSTEM"
            cursor.execute("SET GLOBAL time_zone = %s", [wanted])
        elif zone:
            cursor.execute(f"ALTER DATABASE {config['NAME']} SET timezone TO '{zone}'")
        else:
            cursor.execute(f"ALTER DATABASE {config['NAME']} RESET timezone")
    connections["default"].close()
