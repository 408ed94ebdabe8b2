"""
PostgreSQL loses what was committed asynchronously, when it is killed before it was flushed.

Harmless groups are claimed and completed so (design, "Harmless groups"). The machine beside this
plays such a loss by putting rows back; here it is real.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from reliable_effects.clock import moved
from reliable_effects.effects.registry import registry
from reliable_effects.outbox.claim import claim, look
from reliable_effects.outbox.claimed import Claimed
from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.rescue import rescue
from reliable_effects.outbox.run import run
from reliable_effects.outbox.states import State
from reliable_effects.outbox.succeed import succeed_together
from reliable_effects.outbox.verdicts import Succeeded
from reliable_effects.testing.running import carry_out
from tests.faults.outside import Outside
from tests.services import Postgres
from tests.shop.models import Order

from .effects import Effects, declare, what_of
from .script import script

SPARE = "spare"
MEMBERS = 5
TRIES = 6  # PostgreSQL flushes when it likes; not each kill finds something unflushed


@pytest.fixture
def effects(tmp_path) -> Iterator[Effects]:
    script.outside, script.moods, script.calls = Outside(tmp_path / "outside"), {}, []
    with registry.scratch():
        yield declare()


@pytest.fixture
def spare(spare_postgres: Postgres, django_db_blocker, settings) -> Iterator[BaseDatabaseWrapper]:
    """A database with our tables on a server that may be killed, and flushes late."""
    pytest.importorskip("psycopg")
    connections.settings[SPARE] = connections.settings["default"] | {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "USER": "postgres",
        "PASSWORD": "",
        "HOST": "127.0.0.1",
        "PORT": spare_postgres.port,
        "OPTIONS": {"connect_timeout": 10},
    }
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "DATABASES": (SPARE,)}
    with django_db_blocker.unblock():
        connection = connections[SPARE]
        call_command("migrate", database=SPARE, run_syncdb=True, verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
            cursor.execute("ALTER SYSTEM SET autovacuum = off")  # it commits, and so flushes
        connection.close()
        spare_postgres.restart()
        try:
            yield connection
        finally:
            spare_postgres.heal()
            connection.close()
            with connection.cursor() as cursor:
                cursor.execute("ALTER SYSTEM RESET ALL")
            connection.close()
            del connections[SPARE]
            del connections.settings[SPARE]


@contextmanager
def killed_afterwards(server: Postgres) -> Iterator[None]:
    """What the block has committed asynchronously may be gone when it ends."""
    yield
    server.kill()
    connections[SPARE].close()
    server.start()


def owed(effects: Effects, times: int) -> list[int]:
    before = set(Delivery.objects.using(SPARE).values_list("pk", flat=True))
    with transaction.atomic(using=SPARE):
        order = Order.objects.using(SPARE).create()
        for _ in range(times):
            effects.harmless.promise(order, using=SPARE)
    now = set(Delivery.objects.using(SPARE).values_list("pk", flat=True))
    return sorted(now - before)


@pytest.mark.fault("PostgreSQL is killed and has lost asynchronous commits", rows="D1")
@pytest.mark.usefixtures("spare")
def test_a_group_whose_commits_the_database_lost_runs_once_more(spare_postgres, effects, evidence):
    """
    The rows are as before their claim: so somebody claims them again, under the same keys.

    The worker of before, who knows of no crash, writes nothing over that.
    """
    for has_completed in (True, False):
        evidence.add(strikes=eventually_lost(spare_postgres, effects, has_completed=has_completed))

    verdict = script.outside.judge(all_that_was_committed())
    assert verdict.other_keys == 0
    assert verdict.extra_runs == evidence.strikes * MEMBERS
    evidence.judged(verdict, strikes=0)


def eventually_lost(server: Postgres, effects: Effects, *, has_completed: bool) -> int:
    """Kill the server around a group until it has lost something; how often it did: once."""
    for _ in range(TRIES):
        ids = owed(effects, MEMBERS)
        seen = look(SPARE, ids)
        with killed_afterwards(server):
            group = claim(seen, group=True)
            assert len(group) == MEMBERS
            if has_completed:
                carried_out(group)
        is_lost = states(ids) != {State.SUCCEEDED if has_completed else State.RUNNING}
        if not has_completed:
            assert bool(carried_out(group)) != is_lost  # the fence, where the claim is no more
        drain(ids)
        if is_lost:
            return 1
    return 0


def carried_out(group: list[Claimed]) -> list[Claimed]:
    for claimed in group:
        assert isinstance(run(claimed), Succeeded)
    return succeed_together(group)


def drain(ids: list[int]) -> None:
    """A day later everybody's lease is over."""
    with moved(timedelta(days=1)):
        rescue(SPARE, Turn(since_last=None))
        for pk in ids:
            carry_out(SPARE, pk)
    assert states(ids) == {State.SUCCEEDED}


def states(ids: list[int]) -> set[int]:
    rows = Delivery.objects.using(SPARE).filter(pk__in=ids)
    return set(rows.values_list("state", flat=True))


def all_that_was_committed() -> set[str]:
    rows = Delivery.objects.using(SPARE).values_list("effect", "event_id", "event__subject_pk")
    return {what_of(*row) for row in rows}
